//! Replicas that a throttle is for (KIP-73): `*`, or a list of `partition:node`.

/// Replicas of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ThrottledReplicas {
    #[default]
    None,
    All,
    /// Partition and node.
    These(Vec<(i32, i32)>),
}

impl ThrottledReplicas {
    /// From parts that were validated; what names no partition of ours names none.
    pub(crate) fn parse(parts: &[String]) -> ThrottledReplicas {
        match parts {
            [] => ThrottledReplicas::None,
            [only] if only == "*" => ThrottledReplicas::All,
            parts => {
                let pair = |part: &String| {
                    let (partition, node) = part.split_once(':')?;
                    Some((partition.parse().ok()?, node.parse().ok()?))
                };
                ThrottledReplicas::These(parts.iter().filter_map(pair).collect())
            }
        }
    }

    pub fn contains(&self, partition: i32, node: i32) -> bool {
        match self {
            ThrottledReplicas::None => false,
            ThrottledReplicas::All => true,
            ThrottledReplicas::These(replicas) => replicas.contains(&(partition, node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ThrottledReplicas;

    fn parse(parts: &[&str]) -> ThrottledReplicas {
        ThrottledReplicas::parse(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_list_names_partitions_on_nodes_and_a_star_all() {
        let listed = parse(&["0:1", "2:3", "99999999999:1"]);
        assert!(listed.contains(0, 1) && listed.contains(2, 3));
        assert!(!listed.contains(0, 3) && !listed.contains(1, 1));
        assert!(parse(&["*"]).contains(7, 7));
        assert!(!parse(&[]).contains(0, 1));
    }
}
