//! No node without a way to it.

use super::beam::Scratches;
use super::frozen::Frozen;

/// Rounds after which what is left is given up; each usually leaves a hundredth.
const ROUNDS: usize = 8;

/// Which nodes no path from the router leads to.
pub fn unreachable(frozen: &Frozen, alive: &[u32]) -> Vec<u32> {
    let mut seen = vec![false; frozen.layer.nodes.bound()];
    let mut stack: Vec<u32> = frozen.router.nodes().collect();
    stack.iter().for_each(|&node| seen[node as usize] = true);
    while let Some(node) = stack.pop() {
        frozen.layer.links.each(node, |link| {
            if !std::mem::replace(&mut seen[link as usize], true) {
                stack.push(link);
            }
        });
    }
    alive.iter().copied().filter(|&node| !seen[node as usize]).collect()
}

/// Links every unreachable node of `alive` from the node nearest to it that can spare a link; how many stay so.
pub fn reach(frozen: &Frozen, alive: &[u32], scratches: &Scratches) -> usize {
    let mut lost = unreachable(frozen, alive);
    if lost.is_empty() {
        return 0;
    }
    let links = &frozen.layer.links;
    let mut ways = vec![0u32; frozen.layer.nodes.bound()];
    alive.iter().for_each(|&node| links.each(node, |link| ways[link as usize] += 1));
    for round in 0..ROUNDS {
        for &node in &lost {
            let query = frozen.layer.nodes.query(node);
            // Everything that a walk finds can be reached, so a link from there is a way.
            let found = scratches.with(|scratch| {
                frozen.walk(&query, 32 << round, scratch);
                scratch.pool.iter().map(|f| f.node()).collect::<Vec<u32>>()
            });
            for from in found.into_iter().filter(|&from| from != node) {
                let mut row = links.get_plain(from);
                if row.len() == links.plain() {
                    // Give up the farthest link that is not some node's last way.
                    let Some(spare) = row.iter().rposition(|&l| ways[l as usize] > 1) else { continue };
                    ways[row.remove(spare) as usize] -= 1;
                }
                row.push(node);
                links.set_plain(from, &row);
                ways[node as usize] += 1;
                break;
            }
        }
        lost = unreachable(frozen, alive);
        if lost.is_empty() {
            break;
        }
    }
    lost.len()
}
