//! `docs/manifest.md` and `docs/limits.md` say what the code does.

use std::path::Path;

use host_manifest::{LimitsProfile, parse, schema};
use serde_json::Value;

const DOC: &str = include_str!("../../docs/manifest.md");
const LIMITS: &str = include_str!("../../docs/limits.md");

fn rows(table: &Value) -> String {
    let required = table["required"].as_array();
    let row = |(key, property): (&String, &Value)| {
        let default = match property.get("default") {
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
            None if required.is_some_and(|keys| keys.iter().any(|one| one == key)) => {
                "needed".into()
            }
            None => String::new(),
        };
        let text = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        format!("| `{key}` | {default} | {text} |")
    };
    let rows: Vec<String> =
        table["properties"].as_object().expect("properties").iter().map(row).collect();
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_manifest() {
        let mut found = 0;
        let blocks = [DOC, LIMITS].map(|page| page.split("```toml\n").skip(1));
        for block in blocks.into_iter().flatten() {
            let example = block.split("```").next().expect("the end of a block");
            // What is shown of a component leaves its source out.
            let whole = match example.contains("source = ") {
                true => example.to_owned(),
                false => format!("{example}\n[component.shop]\nsource = \"shop.wasm\"\n"),
            };
            let env = |name: &str| (name == "SHOP_API_TOKEN").then(|| "secret".into());
            if let Err(report) = parse(&whole, Path::new("docs/manifest.md"), &env) {
                panic!("{report}");
            }
            found += 1;
        }
        assert!(found > 5, "{found} examples");
    }

    #[test]
    fn the_profiles_are_those_that_are_shown() {
        let (default, strict) = (LimitsProfile::Default.limits(), LimitsProfile::Strict.limits());
        let values = default.written().into_iter().zip(strict.written());
        let row = |((key, default), (_, strict))| format!("| `{key}` | {default} | {strict} |\n");
        let rows: String = values.map(row).collect();
        let head = "<!-- profiles -->\n| limit | `default` | `strict` |\n|---|---|---|\n";
        assert!(LIMITS.contains(&format!("{head}{rows}\n")), "docs/limits.md lacks: {rows}");
    }

    #[test]
    fn every_table_is_that_of_the_schema() {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let tables = schema["$defs"].as_object().expect("tables");
        let shown = tables.iter().filter(|(name, _)| *name != "Bucket");
        let root = "Raw".to_owned();
        for (name, table) in shown.chain([(&root, &schema)]) {
            let head = format!("<!-- {name} -->\n| key | default | |\n|---|---|---|\n");
            let expected = rows(table);
            let below = DOC.split(&head).nth(1).unwrap_or_else(|| panic!("no table {name}"));
            let written = below.split("\n\n").next().expect("the rows");
            assert_eq!(written.trim_end(), expected, "docs/manifest.md has this wrong: {name}");
        }
    }
}
