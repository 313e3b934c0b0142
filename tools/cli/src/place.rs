//! Where reading starts, as a person writes it: `beginning`, `end`, an offset, or a time.

use client::Start;

const DAY_MS: i64 = 86_400_000;

/// `beginning`, `end`, an offset (`17`), or a UTC time (`2026-01-31`, `2026-01-31T12:00:00Z`).
pub fn parse(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        _ => match text.parse::<u32>().map(i64::from).or_else(|_| text.parse::<i64>()) {
            Ok(offset) if offset >= 0 => Ok(Start::Offset(offset)),
            Ok(_) => Err("an offset is not negative".to_owned()),
            Err(_) => time(text).map(Start::Time).ok_or_else(|| {
                format!("`{text}` is none of: beginning, end, an offset, a time like 2026-01-31T12:00:00Z")
            }),
        },
    }
}

/// Milliseconds since 1970 of an RFC 3339 time in UTC; the time of day may be left out.
fn time(text: &str) -> Option<i64> {
    let (date, clock) = match text.trim_end_matches('Z').split_once(['T', ' ']) {
        Some((date, clock)) => (date, clock),
        None => (text, "00:00:00"),
    };
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (clock.next()?.parse::<i64>().ok()?, clock.next()?.parse::<i64>().ok()?);
    let second = clock.next().unwrap_or("0").parse::<f64>().ok()?;
    let sound = (1..=12).contains(&month) && (0..24).contains(&hour);
    // 1970 to 9999; the 31st of February is no day
    let exists = (1970..=9999).contains(&year) && (1..=days_of_month(year, month)).contains(&day);
    if !sound || !exists || !(0..60).contains(&minute) || !(0.0..60.0).contains(&second) {
        return None;
    }
    Some(
        days(year, month, day) * DAY_MS
            + (hour * 60 + minute) * 60_000
            + (second * 1000.0).round() as i64,
    )
}

/// `month` from 1 to 12; nothing else has days.
fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        1..12 => days(year, month + 1, 1) - days(year, month, 1),
        12 => 31,
        _ => 0,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, with years that begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A time as RFC 3339 in UTC.
pub fn show(ms: i64) -> String {
    let (day, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (second, ms) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::{parse, show};
    use client::Start;

    #[test]
    fn places_are_read_as_a_person_writes_them() {
        assert_eq!(parse("beginning"), Ok(Start::Beginning));
        assert_eq!(parse("17"), Ok(Start::Offset(17)));
        assert_eq!(parse("2023-11-14T22:13:20Z"), Ok(Start::Time(1_700_000_000_000)));
        assert_eq!(parse("2024-02-29"), Ok(Start::Time(1_709_164_800_000)));
        for bad in [
            "soon",
            "-3",
            "2024-13-01",
            "2024-00-01",
            "2023-02-29",
            "2024-04-31",
            "2024-01-00",
            "2024-01-01T25:00:00Z",
            "99999999999999-01-01",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_that_is_shown_is_read_as_the_same() {
        for ms in [0, 951_782_400_000, 1_700_000_000_123, 4_107_542_399_999] {
            assert_eq!(parse(&show(ms)), Ok(Start::Time(ms)), "{}", show(ms));
        }
        assert_eq!(show(1_700_000_000_000), "2023-11-14T22:13:20.000Z");
    }
}
