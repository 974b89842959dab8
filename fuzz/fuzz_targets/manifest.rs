//! Any text is read as a manifest or refused with a picture.
#![no_main]

use std::path::Path;

use host_manifest::{OutgoingConfig, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let env = |name: &str| (name != "UNSET").then(|| format!("${name}"));
    match parse(text, Path::new("/etc/host/host.toml"), &env) {
        Ok(manifest) => {
            assert!(!manifest.components.is_empty());
            for route in &manifest.routes {
                let plugins = route.chain.iter().map(|entry| &entry.plugin);
                for name in plugins.chain([&route.component]) {
                    assert!(manifest.components.contains_key(name));
                }
            }
            for component in manifest.components.values() {
                assert!(component.limits.faults().is_empty());
                assert!(component.limits.faults_within(&manifest.total).is_empty());
                for origin in component
                    .grants
                    .get()
                    .into_iter()
                    .flat_map(|OutgoingConfig { origins, .. }| origins)
                {
                    assert_eq!(origin.to_string().parse().as_ref(), Ok(origin));
                }
            }
        }
        Err(report) => {
            assert!(!report.problems().is_empty());
            assert!(!report.render(false).is_empty());
            assert!(!report.one_line().contains('\n'));
        }
    }
});
