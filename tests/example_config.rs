//! What the plugins of `guest/examples` say of their configuration: a wrong one refuses the load, and a JSON Schema in the
//! component tells what a right one is.

use std::collections::BTreeSet;

use serde_json::Value;
use wasmparser::{Parser, Payload};

use crate::support::app::bytes;
use crate::support::chain::Chain;
use crate::support::exit::Exit;
use crate::support::site::Site;

const PLUGINS: [&str; 7] =
    ["apikey_p3", "cors_p3", "ipallow_p3", "jwt_p3", "ratelimit_p3", "rewrite_p3", "validate_p3"];

/// What is in the custom section of a component or of a module in it.
fn schema(guest: &str) -> Value {
    let component = bytes(guest);
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(&component) {
        if let Payload::CustomSection(section) = payload.expect("a component")
            && section.name() == "host:config-schema"
        {
            found.push(section.data().to_vec());
        }
    }
    assert_eq!(found.len(), 1, "{guest} has one schema");
    serde_json::from_slice(&found[0]).expect("JSON")
}

/// The same plugin, whose schema the host does not find: so what it says itself is heard.
fn without_schema(plugin: &str) -> Vec<u8> {
    let mut component = bytes(plugin);
    let (name, other) = (b"host:config-schema", b"host:config-SCHEMA");
    let found = component.windows(name.len()).position(|part| part == name);
    let at = found.expect("it has a schema");
    component[at..at + name.len()].copy_from_slice(other);
    component
}

/// This chain with the plugin as it is, or as one without a schema.
fn exit(plugin: &str, chain: &Chain, with_schema: bool) -> Exit {
    let toml = chain.toml();
    let named = format!("\"guest:{plugin}\"");
    assert!(toml.contains(&named), "{toml}");
    let site = match with_schema {
        true => Site::new(&toml),
        false => Site::new(&toml.replace(&named, "\"plugin.wasm\"")),
    };
    site.put_bytes("plugin.wasm", &without_schema(plugin));
    let exit = site.serve().start_in_vain();
    exit.expect_code(3);
    exit
}

/// The sentence with which a plugin with this configuration, and with buckets, refuses to be loaded. By its schema the
/// host refuses it too, or has it refused.
#[track_caller]
pub fn refusal(plugin: &str, config: &str) -> String {
    let chain = Chain::new(&[plugin], "info_p3").say("one", config);
    exit(plugin, &chain, true);
    let exit = exit(plugin, &chain, false);
    let begin = "on-start gave an error: ";
    let stderr = exit.stderr;
    let (_, sentence) = stderr.split_once(begin).unwrap_or_else(|| panic!("no {begin}{stderr}"));
    sentence.lines().next().expect("a line").to_owned()
}

/// Where the schema and the code part, the host would refuse what the plugin takes, or the other way round.
#[test]
fn schema_in_each_component_has_the_keys_that_the_component_knows() {
    for plugin in PLUGINS {
        let schema = schema(plugin);
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{plugin}");
        let properties = schema["properties"].as_object().expect("an object");
        let named: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let described =
            |key: &Value| key["description"].as_str().is_some_and(|text| text.ends_with('.'));
        assert!(properties.values().all(described), "{plugin}: each key is described");
        let good = match plugin {
            "cors_p3" => "config.origins = \"*\"",
            "ipallow_p3" => "config.deny = \"10.0.0.0/8\"",
            "jwt_p3" => {
                "config.issuer = \"i\"\nconfig.audience = \"a\"\nconfig.jwks-url = \"http://127.0.0.1:1/\"\n\
                 grants.keyvalue.jwks = \"main\""
            }
            "rewrite_p3" => "config.request-remove = \"a\"",
            "validate_p3" => "config.schema = \"{}\"",
            "apikey_p3" => "grants.keyvalue.keys = \"main\"",
            _ => "grants.keyvalue.ratelimit = \"main\"",
        };
        let store =
            if good.contains("keyvalue") { "[keyvalue.main]\nbackend = \"memory\"" } else { "" };
        let chain = Chain::new(&[plugin], "info_p3").say("one", good).and(store);
        let chain = chain.say("one", "config.zebra = \"x\"");
        let by_schema = exit(plugin, &chain, true);
        let says = "config.zebra means nothing to it; leave it out";
        assert!(by_schema.stderr.contains(says), "{plugin}: {}", by_schema.stderr);
        let exit = exit(plugin, &chain, false);
        let known = exit.stderr.split_once("config.zebra is not known; known are ");
        let (_, known) = known.unwrap_or_else(|| panic!("{plugin}: {}", exit.stderr));
        let known = known.lines().next().expect("a line").split(", ").collect();
        assert_eq!(named, known, "{plugin}: schema and code");
    }
}

/// A plugin, its configuration, and what it says of that.
const WRONG: [(&str, &str, &str); 37] = [
    ("apikey_p3", "", "the bucket `keys` is not granted"),
    (
        "apikey_p3",
        "config.client-header = \"x-forwarded-for\"",
        "x-forwarded-for is written by the host",
    ),
    ("apikey_p3", "config.header = \"a b\"", "config.header: \"a b\" is no name of a header"),
    ("cors_p3", "", "config.origins is needed"),
    (
        "cors_p3",
        "config.origins = \"*\"\nconfig.credentials = \"true\"",
        "config.origins: \"*\" with credentials = \"true\"",
    ),
    (
        "cors_p3",
        "config.origins = \"https://a.example/\"",
        "has more than a scheme, a host and a port",
    ),
    ("cors_p3", "config.origins = \"https://a.example:443\"", "has the port of its scheme"),
    ("cors_p3", "config.origins = \"https://*.example\"", "has a `*`"),
    ("cors_p3", "config.origins = \"null\"", "is no origin"),
    (
        "cors_p3",
        "config.origins = \"*\"\nconfig.max-age = \"1h\"",
        "no whole number from 0 to 86400",
    ),
    ("cors_p3", "config.origins = \"*\"\nconfig.methods = \"GET,POST\"", "\"GET,POST\" is no name"),
    ("ipallow_p3", "", "config.allow or config.deny is needed"),
    ("ipallow_p3", "config.allow = \" \"", "config.allow is empty"),
    ("ipallow_p3", "config.allow = \"10.0.0.1/8\"", "10.0.0.0/8 may be meant"),
    ("ipallow_p3", "config.deny = \"10.0.0.0/33\"", "\"10.0.0.0/33\" is no network"),
    ("ipallow_p3", "config.deny = \"::/0\"\nconfig.unknown = \"yes\"", "neither allow nor deny"),
    ("jwt_p3", "config.audience = \"a\"", "config.issuer is needed"),
    ("jwt_p3", "config.issuer = \"i\"", "config.audience is needed"),
    (
        "jwt_p3",
        "config.issuer = \"i\"\nconfig.audience = \"a\"",
        "one of config.jwks and config.jwks-url is needed",
    ),
    ("ratelimit_p3", "config.capacity = \"0.5\"", "no request would pass"),
    ("ratelimit_p3", "config.refill = \"fast\"", "\"fast\" is no number from 0.001 to 1000000"),
    ("ratelimit_p3", "config.key = \"cookie\"", "neither address nor header:NAME"),
    ("ratelimit_p3", "config.key = \"header:host\"", "config.key: host says which route"),
    ("rewrite_p3", "", "says nothing to rewrite"),
    ("rewrite_p3", "config.request-set = \"Connection: close\"", "Connection is of one connection"),
    (
        "rewrite_p3",
        "config.request-add = \"X_Forwarded_For: 1\"",
        "X_Forwarded_For is written by the host",
    ),
    ("rewrite_p3", "config.request-remove = \"content-length\"", "says where a message ends"),
    ("rewrite_p3", "config.response-remove = \"date\"", "date is written by the host"),
    ("rewrite_p3", "config.request-set = \"no colon\"", "is no line `name: value`"),
    ("rewrite_p3", "config.paths = \"/a/../b /c\"", "\"/a/../b\" is no path"),
    ("rewrite_p3", "config.paths = \"/a\"", "is no line `/old /new`"),
    ("rewrite_p3", "config.paths = \"\"\"/a /b\n/a/ /c\"\"\"", "has \"/a\" twice"),
    ("validate_p3", "", "config.schema is needed"),
    ("validate_p3", "config.schema = \"{\"", "config.schema is no JSON"),
    ("validate_p3", "config.schema = '{\"type\": \"strin\"}'", "config.schema: "),
    ("validate_p3", "config.schema = '{\"$ref\": \"http://x.example/\"}'", "nothing is fetched"),
    ("validate_p3", "config.schema = \"{}\"\nconfig.max-body = \"9999999\"", "1 to 8388608"),
];

#[test]
fn configuration_that_is_wrong_refuses_the_load_with_a_sentence() {
    for (plugin, config, sentence) in WRONG {
        let said = refusal(plugin, config);
        assert!(said.contains(sentence), "{plugin} {config}: {said}");
    }
}

#[test]
fn keys_of_the_configuration_that_cannot_verify_refuse_the_load() {
    for (jwks, sentence) in [
        ("[]", "config.jwks: no JWK Set"),
        (r#"{"keys":[]}"#, "config.jwks has no key for RS256"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "config.jwks has no key for RS256"),
        (r#"{"keys":[{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}]}"#, "the key \"r\" is no good"),
        (
            r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"off","x":"AAAA","y":"AAAA"}]}"#,
            "the key \"off\" is no good",
        ),
    ] {
        let config =
            format!("config.issuer = \"i\"\nconfig.audience = \"a\"\nconfig.jwks = '{jwks}'");
        let said = refusal("jwt_p3", &config);
        assert!(said.contains(sentence), "{jwks}: {said}");
    }
}
