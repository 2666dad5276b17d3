//! Archives taken apart and put together, as somebody would who edits a pack.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};

use creta_proof::Hash;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn files_of(bytes: &[u8]) -> Files {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("a zip file");
    let mut files = Files::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).expect("a file");
        let (path, mut content) = (file.name().expect("text").into_owned(), Vec::new());
        file.read_to_end(&mut content).expect("its content");
        files.insert(path, content);
    }
    files
}

pub(crate) fn archive_of(files: &Files) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        archive.start_file(path.as_str(), options).expect("starts");
        archive.write_all(content).expect("writes");
    }
    archive.finish().expect("ends").into_inner()
}

/// The files with a manifest that lists them as they are now.
pub(crate) fn with_true_manifest(mut files: Files) -> Files {
    let Some(manifest) = files.remove("manifest.json") else { return files };
    let Ok(mut manifest) = serde_json::from_slice::<Value>(&manifest) else { return files };
    manifest["files"] = files
        .iter()
        .map(
            |(path, content)| json!({"path": path, "bytes": content.len(), "sha256": Hash::of(&[content]).to_string()}),
        )
        .collect();
    if let Some(population) = files.get("population.csv") {
        manifest["population"]["sha256"] = Hash::of(&[population]).to_string().into();
    }
    files.insert("manifest.json".to_owned(), serde_json_canonicalizer::to_vec(&manifest).expect("plain data"));
    files
}
