//! The table: which functions lie at each place of the code, with file and line.
//!
//! ```text
//! texts │ sites: function, file, line, and the site that it was inlined at │ rows: from this place on, this site
//! ```
//!
//! All are numbers of seven bits a byte, rows and sites as differences, so a table is a fraction of the DWARF. It is
//! read from its beginning, which takes milliseconds, when something has trapped.

use std::collections::HashMap;

/// Texts that are longer are cut: a file name may come from a hostile component.
const LONGEST_TEXT: usize = 1024;

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The function, demangled. None where the DWARF does not say.
    pub function: Option<&'a str>,
    /// File and line.
    pub at: Option<(&'a str, u32)>,
}

/// The table of one component. Its texts come from that component, and may hold anything.
#[derive(Default)]
pub struct SymbolTable(Box<[u8]>);

/// A site that is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SiteId(u32);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Site {
    function: u32,
    file: u32,
    line: u32,
    /// One more than the site that it was inlined at; 0 if it was not.
    caller: u32,
}

/// Makes a table.
#[derive(Default)]
pub(crate) struct Builder {
    texts: HashMap<String, u32>,
    text_order: Vec<String>,
    sites: HashMap<Site, u32>,
    site_order: Vec<Site>,
    rows: Vec<(u32, u32)>,
}

fn count(list: usize) -> u32 {
    u32::try_from(list).unwrap_or(u32::MAX)
}

impl Builder {
    /// One more than the index of a text; 0 for none.
    fn text(&mut self, text: &str) -> u32 {
        let text = text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default();
        if text.is_empty() {
            return 0;
        }
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        self.text_order.push(text.to_owned());
        let index = count(self.text_order.len());
        self.texts.insert(text.to_owned(), index);
        index
    }

    /// The site of this function, inlined at `caller`.
    pub(crate) fn site(
        &mut self,
        function: &str,
        file: &str,
        line: u32,
        caller: Option<SiteId>,
    ) -> SiteId {
        let (function, file) = (self.text(function), self.text(file));
        let caller = caller.map_or(0, |SiteId(index)| index + 1);
        let site = Site { function, file, line, caller };
        let (sites, next) = (&mut self.sites, count(self.site_order.len()));
        let index = *sites.entry(site).or_insert(next);
        if index == next {
            self.site_order.push(site);
        }
        SiteId(index)
    }

    /// From this place on, the code is of this site.
    pub(crate) fn row(&mut self, place: u64, site: Option<SiteId>) {
        let Ok(place) = u32::try_from(place) else { return };
        self.rows.push((place, site.map_or(0, |SiteId(index)| index + 1)));
    }

    /// The table as bytes. Empty if no place is known.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.site_order.is_empty() {
            return Vec::new();
        }
        // The end of a function comes before the start of the next, and of two rows at one place the later counts.
        self.rows.sort_by_key(|(place, _)| *place);
        let mut rows = Vec::<(u32, u32)>::with_capacity(self.rows.len());
        for row in self.rows {
            match rows.last_mut() {
                Some(last) if last.0 == row.0 => *last = if row.1 == 0 { *last } else { row },
                Some(last) if last.1 == row.1 => {}
                _ => rows.push(row),
            }
        }
        let mut bytes = Vec::new();
        let mut put = |number: u32| put_number(&mut bytes, number);
        put(count(self.text_order.len()));
        self.text_order.iter().for_each(|text| put(count(text.len())));
        put(count(self.site_order.len()));
        for (index, site) in (0..).zip(&self.site_order) {
            put(site.function);
            put(site.file);
            put(site.line);
            // A caller stands before what was inlined into it.
            put(if site.caller == 0 { 0 } else { index - (site.caller - 1) });
        }
        put(count(rows.len()));
        let mut before = 0;
        for (place, site) in rows {
            put(place - before);
            put(site);
            before = place;
        }
        for text in &self.text_order {
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u32) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Numbers, one after the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u32> {
        let (mut number, mut shift) = (0_u32, 0);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }
}

impl SymbolTable {
    /// The table in these bytes, which [`extract`](crate::extract) made.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Whether it knows no place at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its size in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// For each offset in the compiled component the functions that lie there: the innermost first, then those that it
    /// was inlined into. Nothing where the table is damaged.
    #[must_use]
    pub fn find(&self, offsets: &[u32]) -> Vec<Vec<Place<'_>>> {
        self.read(offsets).unwrap_or_else(|| vec![Vec::new(); offsets.len()])
    }

    fn read(&self, offsets: &[u32]) -> Option<Vec<Vec<Place<'_>>>> {
        let mut numbers = Numbers(&self.0);
        let lengths = (0..numbers.next()?).map(|_| numbers.next()).collect::<Option<Vec<_>>>()?;
        let mut sites = Vec::new();
        for _ in 0..numbers.next()? {
            let mut next = || numbers.next();
            let (function, file, line, up) = (next()?, next()?, next()?, next()?);
            sites.push(Site { function, file, line, caller: up });
        }
        let mut found = vec![0; offsets.len()];
        let mut place = 0_u32;
        for _ in 0..numbers.next()? {
            place = place.checked_add(numbers.next()?)?;
            let site = numbers.next()?;
            for (found, offset) in found.iter_mut().zip(offsets) {
                if place <= *offset {
                    *found = site;
                }
            }
        }
        let texts = Texts { lengths, bytes: numbers.0 };
        found.into_iter().map(|site| chain(&sites, &texts, site)).collect()
    }
}

/// The site before `site`, and those that it was inlined into.
fn chain<'a>(sites: &[Site], texts: &Texts<'a>, site: u32) -> Option<Vec<Place<'a>>> {
    let mut places = Vec::new();
    let mut at = site;
    while at > 0 {
        let index = at as usize - 1;
        let site = sites.get(index)?;
        let file = texts.get(site.file);
        places.push(Place {
            function: texts.get(site.function),
            at: file.map(|file| (file, site.line)),
        });
        at = if site.caller == 0 { 0 } else { at.checked_sub(site.caller)? };
    }
    Some(places)
}

struct Texts<'a> {
    lengths: Vec<u32>,
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// The text before `number`.
    fn get(&self, number: u32) -> Option<&'a str> {
        let index = number.checked_sub(1)? as usize;
        let start = self.lengths.get(..index)?.iter().map(|length| *length as usize).sum::<usize>();
        let length = *self.lengths.get(index)? as usize;
        std::str::from_utf8(self.bytes.get(start..start.checked_add(length)?)?).ok()
    }
}

impl std::fmt::Debug for SymbolTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SymbolTable").field("bytes", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SymbolTable {
        let mut builder = Builder::default();
        let outer = builder.site("shop::cart", "src/lib.rs", 7, None);
        let inner = builder.site("shop::price", "src/price.rs", 300, Some(outer));
        builder.row(1_000, Some(outer));
        builder.row(1_010, Some(inner));
        builder.row(1_020, Some(outer));
        builder.row(1_030, None);
        builder.row(1_030, Some(inner));
        builder.row(1_040, None);
        SymbolTable::new(builder.finish())
    }

    #[test]
    fn each_place_has_its_functions_the_innermost_first() {
        let table = table();
        let found = table.find(&[999, 1_000, 1_009, 1_015, 1_029, 1_030, 1_040, u32::MAX]);
        let functions = |places: &Vec<Place<'_>>| {
            places.iter().map(|place| place.function.unwrap().to_owned()).collect::<Vec<_>>()
        };
        let found_functions: Vec<_> = found.iter().map(functions).collect();
        let (outer, inner) = (vec!["shop::cart"], vec!["shop::price", "shop::cart"]);
        let expected = [&vec![], &outer, &outer, &inner, &outer, &inner, &vec![], &vec![]];
        assert_eq!(found_functions.iter().collect::<Vec<_>>(), expected);
        assert_eq!(found[3][0].at, Some(("src/price.rs", 300)));
        assert_eq!(found[3][1].at, Some(("src/lib.rs", 7)));
    }

    #[test]
    fn a_damaged_table_knows_nothing_and_harms_nobody() {
        let whole = table().0.to_vec();
        for length in 0..whole.len() {
            let places = SymbolTable::new(whole[..length].to_vec()).find(&[1_015]).len();
            assert_eq!(places, 1);
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SymbolTable::new(bytes).find(&[1_015]).len(), 1);
        }
        assert!(
            SymbolTable::default().is_empty() && SymbolTable::default().find(&[1])[0].is_empty()
        );
    }

    #[test]
    fn nothing_known_is_no_bytes() {
        let mut builder = Builder::default();
        builder.row(1, None);
        assert!(builder.finish().is_empty());
    }
}
