//! Which replicas go where: plans for emptying a node, for spreading load, and for another number of copies.
//!
//! Pure: from the nodes that are alive and the replicas as they are to the lists that change. A plan moves as little as it
//! can, puts no two copies of a partition on one node, and prefers racks that have none. The first of a list is preferred
//! to lead. Load is the number of replicas of a node, ties go to the smaller id, so a plan depends on its input alone.

use client::{Assigned, Node};
use std::collections::BTreeMap;

/// Moves that one plan for balance may consist of.
const MOVES_MAX: usize = 100_000;

/// Why there is no plan, in one sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct NoPlan(pub String);

/// One list of replicas that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub topic: String,
    pub partition: i32,
    pub from: Vec<i32>,
    pub to: Vec<i32>,
}

impl Step {
    /// What the cluster is asked for.
    pub fn wanted(&self) -> Assigned {
        let (topic, partition) = (self.topic.clone(), self.partition);
        Assigned { topic, partition, replicas: self.to.clone() }
    }
}

/// Replicas and preferred leaders of the nodes, counted while a plan grows.
struct Counts<'a> {
    racks: BTreeMap<i32, Option<&'a str>>,
    replicas: BTreeMap<i32, usize>,
    leaders: BTreeMap<i32, usize>,
}

impl<'a> Counts<'a> {
    fn new(nodes: &'a [Node], assigned: &[Assigned]) -> Counts<'a> {
        let mut counts = Counts {
            racks: nodes.iter().map(|node| (node.id, node.rack.as_deref())).collect(),
            replicas: nodes.iter().map(|node| (node.id, 0)).collect(),
            leaders: nodes.iter().map(|node| (node.id, 0)).collect(),
        };
        assigned.iter().for_each(|partition| counts.count(&partition.replicas, true));
        counts
    }

    fn count(&mut self, list: &[i32], add: bool) {
        let step = |count: &mut usize| match add {
            true => *count += 1,
            false => *count = count.saturating_sub(1),
        };
        list.iter().for_each(|node| step(self.replicas.entry(*node).or_default()));
        list.first().into_iter().for_each(|node| step(self.leaders.entry(*node).or_default()));
    }

    fn replace(&mut self, old: &[i32], new: &[i32]) {
        self.count(old, false);
        self.count(new, true);
    }

    fn shares_rack(&self, node: i32, list: &[i32]) -> bool {
        let rack = self.racks.get(&node).copied().flatten();
        rack.is_some() && list.iter().any(|n| self.racks.get(n).copied().flatten() == rack)
    }

    /// The best node for one more copy beside those of `list`, which is not `but`.
    fn best(&self, list: &[i32], but: Option<i32>) -> Option<i32> {
        let able = self.racks.keys().filter(|id| !list.contains(id) && Some(**id) != but);
        able.copied().min_by_key(|id| (self.shares_rack(*id, list), self.replicas[id], *id))
    }

    /// Whether most of these nodes are alive.
    fn has_majority(&self, list: &[i32]) -> bool {
        2 * list.iter().filter(|id| self.racks.contains_key(id)).count() > list.len()
    }

    /// The list with the member in front that leads least.
    fn led_by_least(&self, mut list: Vec<i32>) -> Vec<i32> {
        let led = |id: &i32| self.leaders.get(id).copied().unwrap_or(usize::MAX);
        if let Some(at) = (0..list.len()).min_by_key(|at| (led(&list[*at]), *at)) {
            list[..=at].rotate_right(1);
        }
        list
    }
}

fn step(partition: &Assigned, to: Vec<i32>) -> Step {
    let (topic, from) = (partition.topic.clone(), partition.replicas.clone());
    Step { topic, partition: partition.partition, from, to }
}

/// A partition moves only if a majority of its copies is there to hand it over.
fn check_majority(counts: &Counts<'_>, partition: &Assigned) -> Result<(), NoPlan> {
    if counts.has_majority(&partition.replicas) {
        return Ok(());
    }
    let is_dead = |id: &&i32| !counts.racks.contains_key(*id);
    let dead: Vec<i32> = partition.replicas.iter().filter(is_dead).copied().collect();
    let (copies, nodes) =
        (partition.replicas.len(), if dead.len() == 1 { "node" } else { "nodes" });
    Err(NoPlan(format!(
        "{}-{} cannot be moved: only {} of its {copies} copies are on nodes that are alive, and a majority \
         has to be; start {nodes} {} again, or delete the topic",
        partition.topic,
        partition.partition,
        copies - dead.len(),
        crate::output::list(&dead)
    )))
}

/// Takes everything from a node.
pub fn drain(nodes: &[Node], assigned: &[Assigned], node: i32) -> Result<Vec<Step>, NoPlan> {
    let mut counts = Counts::new(nodes, assigned);
    let mut steps = Vec::new();
    for partition in assigned.iter().filter(|partition| partition.replicas.contains(&node)) {
        check_majority(&counts, partition)?;
        let rest: Vec<i32> = partition.replicas.iter().copied().filter(|id| *id != node).collect();
        let heir = counts.best(&rest, Some(node)).ok_or_else(|| {
            let others = nodes.iter().filter(|other| other.id != node).count();
            NoPlan(format!(
                "node {node} cannot be drained: {}-{} has {} copies and only {others} other nodes \
                 are alive; add a node or lower the topic's replication factor",
                partition.topic,
                partition.partition,
                partition.replicas.len()
            ))
        })?;
        let replace = |id: &i32| if *id == node { heir } else { *id };
        let mut to: Vec<i32> = partition.replicas.iter().map(replace).collect();
        if partition.replicas[0] == node {
            to = counts.led_by_least(to);
        }
        counts.replace(&partition.replicas, &to);
        steps.push(step(partition, to));
    }
    Ok(steps)
}

/// Spreads replicas, then preferred leaders, until nodes differ by one at most or nothing can be moved. Partitions of which
/// most copies are away stay as they are.
pub fn balance(nodes: &[Node], assigned: &[Assigned]) -> Vec<Step> {
    let mut counts = Counts::new(nodes, assigned);
    let mut lists: Vec<Vec<i32>> = assigned.iter().map(|p| p.replicas.clone()).collect();
    for _ in 0..MOVES_MAX {
        if !move_one(&mut counts, &mut lists, nodes) {
            break;
        }
    }
    for _ in 0..MOVES_MAX {
        if !lead_one(&mut counts, &mut lists, nodes) {
            break;
        }
    }
    let changed = assigned.iter().zip(lists).filter(|(partition, to)| partition.replicas != *to);
    changed.map(|(partition, to)| step(partition, to)).collect()
}

/// Moves a replica from a node that has more than another by two at least.
fn move_one(counts: &mut Counts<'_>, lists: &mut [Vec<i32>], nodes: &[Node]) -> bool {
    let mut by_load: Vec<i32> = nodes.iter().map(|node| node.id).collect();
    by_load.sort_by_key(|id| (counts.replicas[id], *id));
    for rich in by_load.iter().rev() {
        for poor in &by_load {
            if counts.replicas[rich] < counts.replicas[poor] + 2 {
                break;
            }
            for list in lists.iter_mut() {
                let Some(at) = list.iter().position(|id| id == rich) else { continue };
                if !counts.has_majority(list) {
                    continue;
                }
                let rest: Vec<i32> = list.iter().copied().filter(|id| id != rich).collect();
                let worse = counts.shares_rack(*poor, &rest) && !counts.shares_rack(*rich, &rest);
                if rest.contains(poor) || worse {
                    continue;
                }
                let mut to = list.clone();
                to[at] = *poor;
                counts.replace(list, &to);
                *list = to;
                return true;
            }
        }
    }
    false
}

/// Lets another replica lead a partition of a node that leads more than it by two at least.
fn lead_one(counts: &mut Counts<'_>, lists: &mut [Vec<i32>], nodes: &[Node]) -> bool {
    let is_here = |id: &i32| nodes.iter().any(|node| node.id == *id);
    for list in lists.iter_mut() {
        let Some(first) = list.first().copied() else { continue };
        if !counts.has_majority(list) {
            continue;
        }
        let led = |id: &i32| counts.leaders.get(id).copied().unwrap_or_default();
        let others = list.iter().copied().filter(is_here);
        let Some(least) = others.min_by_key(|id| (led(id), *id)) else { continue };
        if led(&first) < led(&least) + 2 {
            continue;
        }
        let mut to: Vec<i32> = list.iter().copied().filter(|id| *id != least).collect();
        to.insert(0, least);
        counts.replace(list, &to);
        *list = to;
        return true;
    }
    false
}

/// Gives every partition of a topic this number of copies.
pub fn replicate(
    nodes: &[Node],
    assigned: &[Assigned],
    topic: &str,
    copies: usize,
) -> Result<Vec<Step>, NoPlan> {
    if copies > nodes.len() {
        return Err(NoPlan(format!(
            "topic {topic} cannot have {copies} copies: only {} nodes are alive",
            nodes.len()
        )));
    }
    let mut counts = Counts::new(nodes, assigned);
    let mut steps = Vec::new();
    for partition in assigned.iter().filter(|partition| partition.topic == topic) {
        let mut to = partition.replicas.clone();
        while to.len() > copies {
            // the first leads and stays; of the others the one with most load goes
            let load = |at: &usize| (counts.replicas.get(&to[*at]).copied(), *at);
            match (1..to.len()).max_by_key(load) {
                Some(at) => drop(to.remove(at)),
                None => break,
            }
        }
        while to.len() < copies {
            let Some(node) = counts.best(&to, None) else { break };
            to.push(node);
        }
        if to != partition.replicas {
            check_majority(&counts, partition)?;
            counts.replace(&partition.replicas, &to);
            steps.push(step(partition, to));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn nodes(racks: &[&str]) -> Vec<Node> {
        let node = |(id, rack): (i32, &&str)| Node {
            id,
            address: String::new(),
            rack: (!rack.is_empty()).then(|| (*rack).to_owned()),
        };
        (1..).zip(racks).map(node).collect()
    }

    fn topic(lists: &[&[i32]]) -> Vec<Assigned> {
        (0..)
            .zip(lists)
            .map(|(partition, list)| Assigned {
                topic: "t".to_owned(),
                partition,
                replicas: list.to_vec(),
            })
            .collect()
    }

    fn after(assigned: &[Assigned], steps: &[Step]) -> Vec<Assigned> {
        let mut after = assigned.to_vec();
        for step in steps {
            let there = after.iter_mut().find(|a| a.partition == step.partition).expect("known");
            assert_eq!(there.replicas, step.from);
            there.replicas.clone_from(&step.to);
            let distinct: BTreeSet<i32> = step.to.iter().copied().collect();
            assert_eq!(distinct.len(), step.to.len(), "{step:?}");
        }
        after
    }

    fn spread(nodes: &[Node], assigned: &[Assigned]) -> (usize, usize) {
        let counts = Counts::new(nodes, assigned);
        let range = |of: &BTreeMap<i32, usize>| {
            let all = || nodes.iter().map(|node| of[&node.id]);
            all().max().unwrap_or(0) - all().min().unwrap_or(0)
        };
        (range(&counts.replicas), range(&counts.leaders))
    }

    #[test]
    fn a_drained_node_has_nothing_and_the_others_share_it() {
        let nodes = nodes(&["", "", "", ""]);
        let assigned = topic(&[&[1, 2], &[1, 3], &[2, 1], &[3, 1], &[2, 3]]);
        let steps = drain(&nodes, &assigned, 1).expect("there is room");
        assert_eq!(steps.len(), 4);
        let after = after(&assigned, &steps);
        assert!(after.iter().all(|p| !p.replicas.contains(&1) && p.replicas.len() == 2));
        assert!(spread(&nodes[1..], &after).0 <= 1, "{after:?}");
        assert_eq!(drain(&nodes, &after, 1), Ok(Vec::new()), "nothing is left to do");
    }

    #[test]
    fn a_node_whose_copies_fit_nowhere_is_not_drained() {
        let nodes = nodes(&["", "", ""]);
        let NoPlan(sentence) = drain(&nodes, &topic(&[&[1, 2, 3]]), 3).expect_err("no room");
        assert!(sentence.contains("t-0 has 3 copies and only 2 other nodes"), "{sentence}");
    }

    #[test]
    fn a_dead_node_is_drained_too() {
        let alive: Vec<Node> = nodes(&["", "", ""]).into_iter().filter(|n| n.id != 2).collect();
        let four: Vec<Node> = nodes(&["", "", "", ""]).into_iter().filter(|n| n.id != 2).collect();
        let steps = drain(&four, &topic(&[&[2, 1, 3], &[3, 1]]), 2).expect("there is room");
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].to.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&1, &3, &4]));
        // of two copies one is no majority: nobody could hand the partition over
        let NoPlan(sentence) = drain(&alive, &topic(&[&[2, 1]]), 2).expect_err("one of two");
        assert!(sentence.contains("only 1 of its 2 copies"), "{sentence}");
        let NoPlan(sentence) = drain(&alive, &topic(&[&[2]]), 2).expect_err("the last copy");
        assert!(sentence.contains("0 of its 1") && sentence.contains("start node 2"), "{sentence}");
        assert_eq!(balance(&alive, &topic(&[&[2, 1], &[2, 1], &[2, 1]])), []);
    }

    #[test]
    fn a_new_node_gets_its_share_of_copies_and_of_leaders() {
        let nodes = nodes(&["", "", "", ""]);
        let lists: Vec<Vec<i32>> =
            (0..24).map(|i| vec![i % 3 + 1, (i + 1) % 3 + 1, (i + 2) % 3 + 1]).collect();
        let lists: Vec<&[i32]> = lists.iter().map(Vec::as_slice).collect();
        let assigned = topic(&lists);
        let steps = balance(&nodes, &assigned);
        let after = after(&assigned, &steps);
        let (copies, leaders) = spread(&nodes, &after);
        assert!(copies <= 1 && leaders <= 1, "{copies} {leaders}");
        let moved: usize = steps
            .iter()
            .map(|step| step.to.iter().filter(|node| !step.from.contains(node)).count())
            .sum();
        assert_eq!(moved, 18, "no more than the new node's share is copied");
        assert_eq!(balance(&nodes, &after), [], "a balanced cluster stays as it is");
    }

    #[test]
    fn copies_stay_in_different_racks() {
        let nodes = nodes(&["a", "a", "b", "b"]);
        let assigned = topic(&[&[1, 3], &[1, 3], &[3, 1], &[1, 3]]);
        let after = after(&assigned, &balance(&nodes, &assigned));
        let rack = |id: &i32| nodes[*id as usize - 1].rack.clone();
        assert!(after.iter().all(|p| rack(&p.replicas[0]) != rack(&p.replicas[1])), "{after:?}");
        assert!(spread(&nodes, &after).0 <= 1);
    }

    #[test]
    fn the_number_of_copies_goes_up_and_down_and_the_leader_stays() {
        let nodes = nodes(&["", "", ""]);
        let assigned = topic(&[&[1], &[2], &[3]]);
        let steps = replicate(&nodes, &assigned, "t", 3).expect("three nodes");
        let more = after(&assigned, &steps);
        assert!(more.iter().zip(&assigned).all(|(m, a)| m.replicas[0] == a.replicas[0]));
        assert!(more.iter().all(|p| p.replicas.len() == 3));
        let fewer = after(&more, &replicate(&nodes, &more, "t", 2).expect("fewer"));
        assert!(fewer.iter().all(|p| p.replicas.len() == 2));
        assert!(fewer.iter().zip(&assigned).all(|(m, a)| m.replicas[0] == a.replicas[0]));
        let NoPlan(sentence) = replicate(&nodes, &assigned, "t", 4).expect_err("three nodes");
        assert!(sentence.contains("only 3 nodes are alive"), "{sentence}");
    }
}
