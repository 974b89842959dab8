//! Plugins that outgoing requests go through.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::raw;
use super::reader::Reader;
use super::spanned::Spanned;
use crate::ComponentConfig;
use crate::error::Problem;

/// Says of each component what its outgoing requests go through.
pub(super) fn egress(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<raw::Component>>,
    components: &mut BTreeMap<Arc<str>, ComponentConfig>,
) {
    let has_own =
        |name: &str| raw.iter().any(|(own, raw)| own.value == name && raw.value.egress.is_some());
    let mut found = Vec::new();
    for (name, component) in raw {
        let Some(written) = &component.value.egress else { continue };
        let Some(plugin) = super::routes::known(reader, written, components) else { continue };
        let mut wrong = |message: String, help: &str| {
            reader.report(Problem::new(written.span.clone(), message).help(help));
        };
        if *plugin == *name.value {
            let message = format!("`{plugin}` stands before itself");
            wrong(message, "name another component, or leave egress out");
        } else if has_own(&plugin) {
            let message =
                format!("`{plugin}` has an egress itself, and would have it served twice");
            wrong(message, "leave out one of the two");
        }
        if let Some(reuse) = &component.value.reuse {
            let problem =
                Problem::new(reuse.span.clone(), "an instance with egress serves one request");
            reader.report(problem.also(written.span.clone(), "because of this").help(
                "leave out reuse: what is sent out belongs to the one exchange that it is sent for",
            ));
        }
        found.push((name.value.clone(), plugin));
    }
    for (name, plugin) in found {
        if let Some(component) = components.get_mut(name.as_str()) {
            component.egress = Some(plugin);
        }
    }
}
