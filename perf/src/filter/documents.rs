//! Whole documents that are harmless, read from a folder: sources, manuals, books. Half of them teach the models what a
//! term of the lexicon means among such text; the other half is for measuring, and is never learned from.
//!
//! Nothing of them is kept: only weights, and the numbers that are printed.

use std::fs;
use std::path::{Path, PathBuf};

/// Endings of files that are read: what people paste into a prompt.
const ENDINGS: [&str; 14] =
    ["rs", "py", "md", "rst", "txt", "html", "js", "mjs", "ts", "c", "h", "hpp", "toml", "json"];
/// Larger ones are tables and dumps.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A folder's documents, cut in two by what lies directly in it, a package or a chapter, so that no text has a sibling in
/// the other half.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// To learn from.
    pub learned: Vec<String>,
    /// To measure on.
    pub aside: Vec<String>,
}

impl Documents {
    /// Reads each folder in `root`, with its name.
    ///
    /// # Errors
    ///
    /// As of [`Self::read`].
    pub fn read_all(root: &Path, bytes_max: usize) -> Result<Vec<(String, Self)>, String> {
        let folders = entries(root)?.into_iter().filter(|folder| folder.is_dir());
        let name = |folder: &Path| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folders.map(|folder| Ok((name(&folder), Self::read(&folder, bytes_max)?))).collect()
    }

    /// Reads all files beneath `root`, in the order of their names, up to `bytes_max` of each half.
    ///
    /// # Errors
    ///
    /// Which folder can't be read. A file that can't, or is no text, is left out.
    pub fn read(root: &Path, bytes_max: usize) -> Result<Self, String> {
        let mut documents = Self::default();
        let mut room = [bytes_max; 2];
        for top in entries(root)? {
            let is_aside = is_aside(&top);
            let mut files = Vec::new();
            gather(&top, &mut files)?;
            for file in files {
                let Ok(text) = fs::read_to_string(&file) else { continue };
                let half = if is_aside { &mut documents.aside } else { &mut documents.learned };
                let room = &mut room[usize::from(is_aside)];
                if text.len() <= *room {
                    *room -= text.len();
                    half.push(text);
                }
            }
        }
        Ok(documents)
    }
}

/// By the hash of its name.
fn is_aside(top: &Path) -> bool {
    let name = top.file_name().unwrap_or_default().as_encoded_bytes();
    // FNV-1a; its upper half is the better mixed one.
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    hash >> 42 & 1 == 0
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    if about.is_dir() {
        for entry in entries(path)? {
            gather(&entry, files)?;
        }
    } else if about.is_file() && about.len() <= FILE_BYTES_MAX {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) {
            files.push(path.to_owned());
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let found = fs::read_dir(folder).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()));
    let mut found = found.collect::<Result<Vec<PathBuf>, _>>().map_err(failed)?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_in_one_half_and_what_is_no_text_in_none() {
        let root = std::env::temp_dir().join(format!("kt-documents-{}", std::process::id()));
        for package in ["a", "b", "c", "d", "e", "f"] {
            fs::create_dir_all(root.join(package).join("src")).unwrap();
            fs::write(root.join(package).join("src/lib.rs"), package).unwrap();
            fs::write(root.join(package).join("README.md"), package).unwrap();
            fs::write(root.join(package).join("logo.png"), package).unwrap();
        }
        let documents = Documents::read(&root, 1 << 20).unwrap();
        assert_eq!(documents.learned.len() + documents.aside.len(), 12);
        assert!(
            documents.learned.len().is_multiple_of(2) && !documents.aside.is_empty() && !documents.learned.is_empty()
        );
        assert!(documents.aside.iter().all(|text| !documents.learned.contains(text)));
        assert_eq!(Documents::read(&root, 3).unwrap().aside.len(), 3);
        fs::remove_dir_all(&root).unwrap();
    }
}
