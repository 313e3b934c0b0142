//! Ratios per pair, their median, and how sure it is.

/// Median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// 95 % interval of the median by resampling pairs with a fixed seed.
pub fn bootstrap_interval(values: &[f64]) -> Option<(f64, f64)> {
    const RESAMPLES: usize = 2_000;
    if values.len() < 2 {
        return None;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let count = values.len() as u64;
            let resample: Vec<f64> =
                values.iter().map(|_| values[(next() % count) as usize]).collect();
            median(&resample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| medians.get((share * (medians.len() - 1) as f64) as usize).copied();
    Some((at(0.025)?, at(0.975)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0, f64::NAN]), Some(2.5));
    }

    #[test]
    fn the_interval_holds_the_median_and_shrinks_with_agreement() {
        let spread = bootstrap_interval(&[0.2, 0.4, 0.5, 0.6, 0.9, 0.5, 0.45, 0.55]).unwrap();
        assert!(spread.0 < 0.5 && spread.1 > 0.5);
        assert_eq!(bootstrap_interval(&[0.5; 8]), Some((0.5, 0.5)));
        assert_eq!(bootstrap_interval(&[0.5]), None);
    }
}
