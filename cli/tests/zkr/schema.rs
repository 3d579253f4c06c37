//! What is printed with `--json` against the files of `cli/schema/`: the part of JSON Schema that they use.

use serde_json::Value;

/// Fails unless an object is as the schema of its kind says.
pub(crate) fn check(object: &Value) {
    assert_eq!(object["schema"], "zkr/1", "{object}");
    let kind = object["kind"].as_str().unwrap_or_else(|| panic!("no kind: {object}"));
    validate(object, &load(kind), kind);
}

fn load(name: &str) -> Value {
    let file = format!("{}/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn validate(value: &Value, schema: &Value, at: &str) {
    if let Some(other) = schema["$ref"].as_str() {
        return validate(value, &load(other.trim_end_matches(".json")), at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{at}: the schema says {other}"),
    };
    assert!(
        types.is_empty() || types.iter().any(fits),
        "{at} is none of {types:?}: {value}"
    );
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{at} is none of {values:?}: {value}");
    }
    if let (Some(fields), true) = (schema["properties"].as_object(), value.is_object()) {
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            assert!(value.get(name).is_some(), "{at} lacks {name}: {value}");
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            let field = fields
                .get(name)
                .unwrap_or_else(|| panic!("{at}.{name} is not in the schema"));
            validate(inner, field, &format!("{at}.{name}"));
        }
    }
    if let (Some(items), Some(all)) = (schema.get("items"), value.as_array()) {
        for inner in all {
            validate(inner, items, &format!("{at}[]"));
        }
    }
}
