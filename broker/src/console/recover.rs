//! `millrace recover`: what is lost if one node goes on without all others, and the note that makes it do so.
//!
//! Works on the data directory of a node that does not run; see `node/lost_majority.rs` for what follows.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a command in the process's main thread; one shard reads the directory for it"
)]

use std::sync::{Arc, Mutex};

use config::NodeConfig;

use super::args::RecoverArgs;
use super::run_node::{lock, read_config, refuse};
use crate::node::{Survey, give_up_others, survey};

/// Runs the command; returns the exit code.
pub fn run(args: RecoverArgs) -> i32 {
    match recover(&args) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(sentence) => refuse(&sentence),
    }
}

fn recover(args: &RecoverArgs) -> Result<bool, String> {
    let config = read_config(&args.config, &args.set)?;
    if !config.data_dir.is_dir() {
        return Err(format!("{} is not the data directory of a node", config.data_dir.display()));
    }
    let _lock = lock(&config.data_dir)?;
    let survey = look(&config, args.yes_lose_data)?;
    println!("{survey}");
    if survey.is_alone() {
        return Err("this node has no others to give up; nothing was changed".to_owned());
    }
    if !args.yes_lose_data {
        println!("nothing was changed; to go on without those nodes, add --yes-lose-data");
        return Ok(false);
    }
    println!("done: at its next start this node goes on without them");
    Ok(true)
}

/// Reads the directory, and leaves the note if that is wanted and there is something to give up.
fn look(config: &NodeConfig, give_up: bool) -> Result<Survey, String> {
    let found: Arc<Mutex<Option<Result<Survey, String>>>> = Arc::default();
    let options =
        runtime::shards::Options { count: 1, name: "recover".into(), ..Default::default() };
    let (config, put) = (config.clone(), found.clone());
    let main = move |_: runtime::shards::Context<()>| {
        let (config, put) = (config.clone(), put.clone());
        async move {
            let looked = async {
                let survey = survey(&config).await?;
                if give_up && !survey.is_alone() {
                    give_up_others(&config).await?;
                }
                Ok(survey)
            };
            let looked = looked.await.map_err(|e: crate::node::BootError| e.to_string());
            *put.lock().expect("nobody panics with it") = Some(looked);
        }
    };
    runtime::shards::run(options, main).map_err(|e| e.to_string())?;
    let looked = found.lock().expect("nobody panics with it").take();
    looked.unwrap_or_else(|| Err("the directory could not be read".to_owned()))
}
