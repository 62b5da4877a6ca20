//! No import cycles between files: the graph of imports is read from the source.
//!
//! An edge is a `use` or a path that begins with `crate::`, `super::`, `self::` or, in a module's
//! own file, with a child module. A re-export (`pub use`) is not an edge: its users depend on the
//! file behind it. Visibilities are not imports either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::tidy::{FOLDERS, collect, without_comment};

/// The files of one folder of sources: code without tests and comments, by module path.
struct Files(BTreeMap<Vec<String>, String>);

/// An import: the path, and the name under which a re-export makes it public.
struct Import {
    path: Vec<String>,
    exported: Option<String>,
}

impl Files {
    fn read(folder: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut paths = Vec::new();
        collect(&root, &mut paths);
        let file = |path: &std::path::PathBuf| {
            let mut module: Vec<String> = path
                .strip_prefix(&root)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            (module, code(&fs::read_to_string(path).unwrap()))
        };
        let is_code = |path: &&std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            !name.ends_with("tests.rs") && name != "lib.rs" && name != "main.rs"
        };
        Self(paths.iter().filter(is_code).map(file).collect())
    }

    /// The files that each file imports. `with_children`: also count what a module's own file
    /// imports from the files below it.
    fn graph(&self, with_children: bool) -> BTreeMap<&[String], BTreeSet<&[String]>> {
        let edges = self.0.iter().map(|(module, code)| {
            let found = imports(code)
                .into_iter()
                .filter(|import| import.exported.is_none());
            let found =
                found.filter_map(|import| self.file_of(&self.absolute(module, &import.path)?, 0));
            let counted = found.filter(|target| {
                *target != module && (with_children || !target.starts_with(module))
            });
            (module.as_slice(), counted.collect())
        });
        edges.collect()
    }

    /// A path from the root of the crate; `None` for other crates.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut base = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" | "super" => {
                while let Some((first, others)) = rest
                    .split_first()
                    .filter(|(first, _)| *first == "self" || *first == "super")
                {
                    if first == "super" {
                        base.pop();
                    }
                    rest = others;
                }
            }
            child => {
                base.push(child.to_owned());
                if !self.0.contains_key(&base) {
                    return None;
                }
                base.pop();
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The file that `path` leads to, through re-exports.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&[String]> {
        let (module, code) = (1..=path.len())
            .rev()
            .find_map(|length| self.0.get_key_value(&path[..length]))
            .filter(|_| depth < 8)?;
        let exported = path.get(module.len()).and_then(|name| {
            let import = imports(code)
                .into_iter()
                .find(|import| import.exported.as_ref() == Some(name))?;
            let mut target = self.absolute(module, &import.path)?;
            target.extend_from_slice(&path[module.len() + 1..]);
            self.file_of(&target, depth + 1)
        });
        Some(exported.unwrap_or(module))
    }
}

fn code(text: &str) -> String {
    let before_tests = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let code = before_tests
        .lines()
        .map(without_comment)
        .collect::<Vec<_>>()
        .join("\n");
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |code, part| {
        code + "pub(crate" + &part[part.find(')').unwrap()..]
    })
}

fn imports(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = code;
    // Statements first: a path in braces has its beginning outside of them.
    let mut others = String::new();
    while let Some(at) = rest.find("use ") {
        let is_word = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (Some(end), true) = (rest[at..].find(';').map(|end| at + end), is_word) else {
            others.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
            continue;
        };
        let line = rest[..at].rsplit('\n').next().unwrap().trim();
        let is_public = line.starts_with("pub");
        others.push_str(&rest[..at]);
        for tree in expand(
            &rest[at + 4..end]
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        ) {
            let (path, name) = tree
                .split_once(" as ")
                .map_or((tree.as_str(), None), |(path, name)| (path, Some(name)));
            let path: Vec<String> = path
                .split("::")
                .map(|part| part.trim().to_owned())
                .collect();
            let name = name.map_or_else(
                || path.last().unwrap().clone(),
                |name| name.trim().to_owned(),
            );
            found.push(Import {
                exported: is_public.then_some(name),
                path,
            });
        }
        rest = &rest[end..];
    }
    others.push_str(rest);
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for path in others
        .split(|c| !is_part(c))
        .filter(|path| path.contains("::") && !path.starts_with(':'))
    {
        let path = path
            .split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        found.push(Import {
            path,
            exported: None,
        });
    }
    found
}

/// The paths of a `use` tree.
fn expand(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return vec![tree.trim().to_owned()];
    };
    let (mut depth, mut begin, mut paths) = (0, open + 1, Vec::new());
    for (at, c) in tree.char_indices().skip_while(|(at, _)| *at <= open) {
        let ends = depth == 0 && matches!(c, ',' | '}');
        if ends && !tree[begin..at].trim().is_empty() {
            paths.extend(expand(&format!(
                "{}{}",
                tree[..open].trim(),
                tree[begin..at].trim()
            )));
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begin = at + 1,
            _ => {}
        }
    }
    paths
}

/// The cycles of a graph: sets of files that each lead to all others of the set.
fn circles<'g>(
    graph: &BTreeMap<&'g [String], BTreeSet<&'g [String]>>,
) -> BTreeSet<BTreeSet<&'g [String]>> {
    let reach = |start: &'g [String]| {
        let mut reached: BTreeSet<&[String]> = BTreeSet::new();
        let mut open = vec![start];
        while let Some(next) = open.pop() {
            open.extend(
                graph
                    .get(next)
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|target| reached.insert(target)),
            );
        }
        reached
    };
    let reached: BTreeMap<_, _> = graph.keys().map(|file| (*file, reach(file))).collect();
    let circle = |file: &&'g [String]| -> BTreeSet<&'g [String]> {
        reached[file]
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(file)))
            .collect()
    };
    graph
        .keys()
        .map(circle)
        .filter(|circle| circle.len() > 1)
        .collect()
}

#[test]
fn no_import_cycles() {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let files = Files::read(folder);
        for circle in circles(&files.graph(false)) {
            let names: Vec<String> = circle.iter().map(|file| file.join("/")).collect();
            found.push(format!("{folder}: {names:?}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn http_has_no_import_cycle_at_all() {
    let files = Files::read("src");
    let graph = files.graph(true);
    let in_http = |file: &&[String]| file.first().is_some_and(|room| room == "http");
    assert!(
        graph
            .iter()
            .filter(|(file, _)| in_http(file))
            .map(|(_, imports)| imports.len())
            .sum::<usize>()
            > 100
    );
    let found: Vec<_> = circles(&graph)
        .into_iter()
        .filter(|circle| circle.iter().any(in_http))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_route_table_imports_neighbours() {
    let files = Files::read("src");
    for (file, imports) in files
        .graph(true)
        .iter()
        .filter(|(file, _)| file.first().is_some_and(|room| room == "http"))
    {
        let is_inside = file.get(1).is_some_and(|part| part == "neighbours");
        let named = imports.iter().find(|import| {
            import.len() > 2 && import[1] == "neighbours" && import[2] != "neighbour"
        });
        assert!(
            is_inside || named.is_none(),
            "{} imports {named:?}",
            file.join("/")
        );
    }
}

#[test]
fn every_form_of_import_is_read() {
    let paths = |code: &str| -> Vec<String> {
        imports(code)
            .iter()
            .map(|import| import.path.join("::"))
            .collect()
    };
    assert_eq!(
        paths("use super::a::{self, B, c::{D, E as F}};"),
        [
            "super::a::self",
            "super::a::B",
            "super::a::c::D",
            "super::a::c::E"
        ]
    );
    assert_eq!(
        paths("fn f() { crate::x::y(a::B::C) }"),
        ["crate::x::y", "a::B::C"]
    );
    assert!(
        imports("pub(super) use a::B;")[0].exported.is_some()
            && imports("use a::B;")[0].exported.is_none()
    );
}
