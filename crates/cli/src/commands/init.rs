//! `creta init`: a project that checks, from nothing or from the columns of a Parquet file.

mod columns;
mod from_file;

use std::path::Path;

use crate::args::Init;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// One file of a new project.
pub(crate) struct NewFile {
    path: String,
    content: Content,
}

enum Content {
    Text(String),
    /// A link to a file outside, by its absolute path: data is not copied.
    Link(std::path::PathBuf),
}

impl NewFile {
    fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Text(text.into()) }
    }
}

const GITIGNORE: &str = "data/\n__pycache__/\n.pytest_cache/\n.venv/\n";

const SHOP: &str = include_str!("init/shop.py.txt");
const SHOP_TEST: &str = include_str!("init/test_shop.py.txt");

pub(crate) fn run(init: &Init, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let name = project_name(&init.folder)?;
    let mut files = vec![
        NewFile::text("creta.toml", project_file(&name)),
        NewFile::text(".gitignore", GITIGNORE),
        // Tests import `features`: with this, `pytest` finds it from the project's folder.
        NewFile::text("conftest.py", ""),
    ];
    let mut left_out = Vec::new();
    match &init.from {
        None => {
            files.push(NewFile::text("features/shop.py", SHOP));
            files.push(NewFile::text("tests/test_shop.py", SHOP_TEST));
        }
        Some(from) => {
            let made = from_file::definitions(from, init)?;
            files.extend(made.files);
            left_out = made.left_out;
        }
    }
    write_all(&init.folder, &files)?;
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let shown = serde_json::json!({ "folder": init.folder, "files": paths, "left_out": left_out });
    terminal.show(&shown, || {
        let folder = init.folder.display();
        let mut text = format!("made the project `{name}` in {folder}\n");
        for path in &paths {
            text.push_str(&format!("  {path}\n"));
        }
        for (column, why) in &left_out {
            text.push_str(&format!("  left out column `{column}`: {why}\n"));
        }
        text + &format!("next: creta check {folder}")
    });
    Ok(())
}

fn project_file(name: &str) -> String {
    format!("[project]\nname = \"{name}\"\nmodules = [\"features\"]\n\n[python]\nrequires = \"3.11\"\n")
}

/// The folder's own name, made a plain word.
fn project_name(folder: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(folder).map_err(|error| Failure::file("find", folder, &error))?;
    let name: String = absolute
        .file_name()
        .map(|name| name.to_string_lossy().chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
        .unwrap_or_default();
    Ok(if name.is_empty() { "project".to_owned() } else { name })
}

/// Writes all files or, where one is in the way, none.
fn write_all(folder: &Path, files: &[NewFile]) -> Result<(), Failure> {
    // A link to nowhere is in the way too, which `exists` would not say.
    let in_the_way = files.iter().map(|file| folder.join(&file.path)).find(|path| path.symlink_metadata().is_ok());
    if let Some(path) = in_the_way {
        return Err(Failure::usage(
            "project/already-there",
            format!("`{}` is already there; nothing was written", path.display()),
            "name another folder",
        ));
    }
    for file in files {
        let path = folder.join(&file.path);
        let parent = path.parent().expect("a file of a project is in a folder");
        std::fs::create_dir_all(parent).map_err(|error| Failure::file("make", parent, &error))?;
        match &file.content {
            Content::Text(text) => std::fs::write(&path, text),
            Content::Link(target) => std::os::unix::fs::symlink(target, &path),
        }
        .map_err(|error| Failure::file("write", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn init(folder: &Path) -> Result<(), Failure> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let init = Init { folder: folder.to_owned(), from: None, entity: None, key: Vec::new(), event_time: None };
        run(&init, &mut Terminal::new(&mut out, &mut err))
    }

    #[test]
    fn a_new_project_never_overwrites_anything() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let project = folder.path().join("Shop Äpfel");
        init(&project).expect("nothing is in the way");
        let config = std::fs::read_to_string(project.join("creta.toml")).expect("written");
        assert!(config.contains("name = \"Shoppfel\""), "{config}");
        std::fs::write(project.join("features/shop.py"), "mine").expect("write");
        std::fs::remove_file(project.join("creta.toml")).expect("remove");
        let refused = init(&project).expect_err("a file is in the way");
        assert_eq!((refused.exit, refused.problems[0].code.as_str()), (Exit::Usage, "project/already-there"));
        assert_eq!(std::fs::read_to_string(project.join("features/shop.py")).expect("still there"), "mine");
        assert!(!project.join("creta.toml").exists(), "all or nothing");
    }
}
