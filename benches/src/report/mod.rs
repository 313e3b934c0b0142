//! What a run leaves behind: `report.json` (everything, raw histograms too), `report.txt` (the
//! table) and `report.html` (the table and plots, one file that needs nothing else).

mod files;
mod html;
mod plots;
mod table;

pub use files::{Conditions, write};
pub use table::text;
