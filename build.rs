//! Makes the table of kinds that is built in, out of `mappings/kinds.zst` and `mappings/conflicts.json`.

use std::{env, error::Error, fs, path::PathBuf};

use serde::Deserialize;

#[expect(dead_code, unreachable_pub, reason = "written for the program, which looks things up")]
#[path = "src/normalize/kind_table.rs"]
mod kinds;

use kinds::{FieldKind, KindTable, PathHash};

const KINDS: &str = "mappings/kinds.zst";
const CONFLICTS: &str = "mappings/conflicts.json";

/// Of an entry of the conflicts only what the table needs; the tests check the rest.
#[derive(Deserialize)]
struct Conflict {
    field: String,
    kind: FieldKind,
}

fn main() -> Result<(), Box<dyn Error>> {
    for file in ["build.rs", "src/normalize/kind_table.rs", KINDS, CONFLICTS] {
        println!("cargo::rerun-if-changed={file}");
    }
    let conflicts: Vec<Conflict> = serde_json::from_slice(&fs::read(CONFLICTS)?)?;
    let mut kinds = KindTable::decompress(&fs::read(KINDS)?, conflicts.len())
        .map_err(|problem| format!("{KINDS} {problem}"))?;
    for Conflict { field, kind } in conflicts {
        kinds.declare(PathHash::from_path(&field), kind);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("kinds.table"), kinds.as_ref())?;
    Ok(())
}
