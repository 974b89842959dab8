//! Which pages to write to.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Range;

/// A range of pages, by their numbers in a memory.
pub type Pages = Range<u32>;

/// The regions that may be left: four fewer than wasmtime's scan takes, for pages that are written seldom.
pub const REGIONS: usize = 28;

/// Pages that cost as much to reset as one fault, which was measured: 0.25 µs against 2.3 µs.
const RESETS_A_FAULT: usize = 8;

/// The ranges of pages to write to, where instances write to the pages `written`, and a slot keeps at most so many.
/// The lowest pages are kept first, because a scan begins there.
///
/// Pages between two regions that become one are reset for each request from then on. So the cheapest plan may be
/// to keep the regions up to some address only, or to write to nothing.
#[must_use]
pub fn plan(written: &BTreeSet<u32>, most: usize) -> Vec<Pages> {
    let regions = regions(written);
    let gaps = gaps(&regions);
    // Of the gaps so far the largest stay open.
    let mut open = BinaryHeap::new();
    let (mut kept, mut filled, mut best) = (0, 0, (usize::MAX, 0));
    for (index, region) in regions.iter().enumerate() {
        if let Some(gap) = index.checked_sub(1).and_then(|before| gaps.get(before)) {
            open.push(Reverse(*gap));
            if open.len() == REGIONS {
                filled += open.pop().map_or(0, |Reverse(gap)| gap);
            }
        }
        kept += region.len();
        if kept + filled > most {
            break;
        }
        let cost = filled + RESETS_A_FAULT * (written.len() - kept);
        if cost < best.0 {
            best = (cost, index + 1);
        }
    }
    merged(&regions[..best.1], &gaps)
}

/// The regions that are made of several, where all gaps but the largest are filled.
fn merged(regions: &[Pages], gaps: &[usize]) -> Vec<Pages> {
    let mut by_size: Vec<_> = (1..regions.len()).collect();
    by_size.sort_by_key(|index| Reverse(gaps[index - 1]));
    let open = by_size.get(..REGIONS - 1).unwrap_or(&by_size);
    let mut begins: Vec<_> = open.to_vec();
    begins.sort_unstable();
    let ends = begins.iter().copied().chain([regions.len()]);
    let begins = [0].into_iter().chain(begins.iter().copied());
    let several = begins.zip(ends).filter(|(begin, end)| end - begin > 1);
    several.map(|(begin, end)| regions[begin].start..regions[end - 1].end).collect()
}

/// Pages side by side.
fn regions(pages: &BTreeSet<u32>) -> Vec<Pages> {
    let mut regions: Vec<Pages> = Vec::new();
    for page in pages {
        match regions.last_mut() {
            Some(last) if last.end == *page => last.end += 1,
            _ => regions.push(*page..page + 1),
        }
    }
    regions
}

/// The pages between each region and the next.
fn gaps(regions: &[Pages]) -> Vec<usize> {
    regions.windows(2).map(|pair| (pair[0].end..pair[1].start).len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regions of one page, each `step` pages from the next.
    fn scattered(count: u32, step: u32) -> BTreeSet<u32> {
        (0..count).map(|index| index * step).collect()
    }

    #[test]
    fn nothing_is_filled_where_the_scan_gets_to_the_end() {
        for count in [0, 1, 28] {
            assert!(plan(&scattered(count, 100), 1000).is_empty(), "{count}");
        }
    }

    #[test]
    fn the_smallest_gaps_are_filled() {
        // 28 regions far from each other, and two near to one of them.
        let mut written = scattered(28, 100);
        written.extend([502, 505]);
        assert_eq!(plan(&written, 1000), vec![500..506]);
        written.extend([303, 700, 702, 703]);
        assert_eq!(plan(&written, 1000), [300..304, 500..506, 700..704]);
    }

    #[test]
    fn as_many_regions_are_left_as_planned() {
        let written = scattered(200, 3);
        let plan = plan(&written, 1000);
        let filled: BTreeSet<u32> = plan.into_iter().flatten().chain(written).collect();
        assert_eq!(regions(&filled).len(), REGIONS);
    }

    #[test]
    fn what_costs_more_than_its_faults_is_not_filled() {
        // The gap in front of the last page costs as much as ten of its faults.
        let mut written = scattered(28, 1000);
        assert!(plan(&written, 100_000).is_empty());
        written.insert(27_081);
        assert!(plan(&written, 100_000).is_empty());
        // It is worth it for eleven pages.
        written.extend(27_081..27_092);
        assert_eq!(plan(&written, 100_000), vec![27_000..27_092]);
    }

    #[test]
    fn a_slot_keeps_no_more_than_it_may() {
        let written = scattered(200, 3);
        for most in [0, 1, 28, 29, 100, 300, 10_000] {
            let plan = plan(&written, most);
            let end = plan.last().map_or(0, |last| last.end);
            let all: BTreeSet<u32> =
                plan.into_iter().flatten().chain(written.range(..end).copied()).collect();
            assert!(all.len() <= most, "{most}: {}", all.len());
        }
        assert_eq!(plan(&(0..5000).collect(), 100), []);
    }
}
