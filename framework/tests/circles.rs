//! Keeps circles out: no modules of one folder use one another in a circle, in any crate of the
//! workspace.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::sources::{code_of, read, sources};

/// The folders with the sources of crates, from the root of the workspace.
const CRATES: [&str; 13] = [
    "framework/src",
    "framework/build/src",
    "framework/derive/src",
    "framework/topology/src",
    "framework/fuzz/src",
    "actors/src",
    "actors/page/src",
    "actors/doors/src",
    "examples/command/src",
    "examples/own_command/src",
    "examples/typed_grpc/src",
    "benches/src",
    "benches/benches/doors",
];

#[test]
fn no_modules_use_one_another_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for name in CRATES {
        let house = House::read(&root.join(name));
        assert!(house.0.contains_key(&Place::new()), "{name} has no root");
        found.extend(house.circles().into_iter().map(|(folder, circle)| (name, folder, circle)));
    }
    assert!(found.is_empty(), "these modules use one another in a circle: {found:#?}");
}

#[test]
fn circles_are_found_however_they_are_written() {
    let house = House::of(&[
        ("", "mod a;\nmod b;\nmod c;\nmod d;\npub use self::b::Bee;"),
        ("a", "#[cfg(test)]\nmod tests;\n\nuse super::{Bee, c::{self, See as Sea}};"),
        ("b", "mod inner;\nfn f() { crate::a::go(); } // crate::d"),
        ("b/inner", "use super::super::d::Dee;\nuse super::f;"),
        ("c", "use super::d;"),
        ("d", "use super::*;\nfn f(_: Bee) {}\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}"),
    ]);
    let circle = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    assert_eq!(house.circles(), [(String::new(), circle)]);
    let house = House::of(&[
        ("", "mod a;\nmod b;"),
        ("a", "use super::b::inner;\nuse crate::other;"),
        ("b", "pub mod inner;\nmod outer;"),
        ("b/inner", "use super::outer::Out;"),
        ("b/outer", "use super::inner::In;"),
    ]);
    let circle = ["inner", "outer"].map(str::to_owned).to_vec();
    assert_eq!(house.circles(), [("b".to_owned(), circle)]);
    // What is for tests alone closes none, whatever else it asks for.
    for only in ["test", "all(test, feature = \"http\")", "all(unix, test)"] {
        let a = format!("#[cfg({only})]\nmod tests {{\n    use super::super::b::Bee;\n}}");
        let house = House::of(&[("", "mod a;\nmod b;"), ("a", &a), ("b", "use super::a::Aye;")]);
        assert_eq!(house.circles(), [], "{only}");
    }
}

/// A module by the names that lead to it from the root of its crate.
type Place = Vec<String>;

/// One name that a module has from elsewhere: the path it stands for.
#[derive(Debug)]
struct Import {
    path: Vec<String>,
    /// `*` for all names that are there.
    name: String,
}

#[derive(Debug, Default)]
struct Module {
    imports: Vec<Import>,
    /// Paths in its code that begin with `crate`, `self` or `super`.
    paths: Vec<Vec<String>>,
    words: BTreeSet<String>,
}

#[derive(Debug)]
struct House(BTreeMap<Place, Module>);

impl House {
    fn read(src: &Path) -> Self {
        // Beside a library the program is a crate of its own, which has no modules here.
        let root = if src.join("lib.rs").exists() { "lib" } else { "main" };
        let modules = sources(src).into_iter().map(|file| {
            let place = file.strip_prefix(src).expect("it lies there").with_extension("");
            let mut place: Place =
                place.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if place.last().is_some_and(|last| last == "mod" || place == [root]) {
                place.pop();
            }
            (place, Module::read(&read(&file)))
        });
        Self(modules.collect())
    }

    fn of(files: &[(&str, &str)]) -> Self {
        let modules = files.iter().map(|(file, text)| {
            let parts = file.split('/').filter(|part| !part.is_empty());
            (parts.map(str::to_owned).collect(), Module::read(text))
        });
        Self(modules.collect())
    }

    /// The module that a path leads to from another module, if it lies in this crate.
    fn find(&self, from: &[String], path: &[String], depth: usize) -> Option<Place> {
        let (first, mut rest) = path.split_first()?;
        let mut place = match first.as_str() {
            "crate" => Place::new(),
            "self" => from.to_vec(),
            "super" => from.split_last()?.1.to_vec(),
            _ => {
                rest = path;
                from.to_vec()
            }
        };
        let is_relative = rest.len() == path.len();
        for (nth, name) in rest.iter().enumerate() {
            if name == "super" {
                place.pop()?;
                continue;
            }
            let child: Place = [&place[..], std::slice::from_ref(name)].concat();
            if self.0.contains_key(&child) {
                place = child;
                continue;
            }
            let named = |import: &&Import| import.name == *name && import.path != path;
            let import = self.0.get(&place).and_then(|module| module.imports.iter().find(named));
            if let Some(import) = import.filter(|_| depth < 8) {
                let path = [&import.path[..], &rest[nth + 1..]].concat();
                return self.find(&place, &path, depth + 1);
            }
            return (nth > 0 || !is_relative).then_some(place);
        }
        Some(place)
    }

    /// Returns what a module uses.
    fn used(&self, place: &Place, module: &Module) -> BTreeSet<Place> {
        let mut paths = module.paths.clone();
        for import in &module.imports {
            paths.push(import.path.clone());
            // Of all names of another module those count that are used here.
            let Some(all) = self.find(place, &import.path, 0).filter(|_| import.name == "*") else {
                continue;
            };
            let names = self.0.get(&all).into_iter().flat_map(|module| &module.imports);
            let names = names.filter(|there| module.words.contains(&there.name));
            paths.extend(
                names.map(|there| [&import.path[..], std::slice::from_ref(&there.name)].concat()),
            );
        }
        paths.iter().filter_map(|path| self.find(place, path, 0)).collect()
    }

    /// The circles of each folder: modules in it that use one another, with all that is in them.
    fn circles(&self) -> Vec<(String, Vec<String>)> {
        let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (place, module) in &self.0 {
            for used in self.used(place, module) {
                let common = place.iter().zip(&used).take_while(|(here, there)| here == there);
                let common = common.count();
                // Who is within the other is no neighbour.
                if let (Some(here), Some(there)) = (place.get(common), used.get(common)) {
                    let folder = folders.entry(place[..common].join("/")).or_default();
                    folder.entry(here.clone()).or_default().insert(there.clone());
                }
            }
        }
        let circles = folders.into_iter().flat_map(|(folder, uses)| {
            circles(&uses).into_iter().map(move |circle| (folder.clone(), circle))
        });
        circles.collect()
    }
}

/// The circles among names that use others.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = uses
        .keys()
        .map(|name| {
            let (mut reached, mut next) = (BTreeSet::new(), vec![name]);
            while let Some(name) = next.pop() {
                next.extend(uses.get(name).into_iter().flatten().filter(|&to| reached.insert(to)));
            }
            (name, reached)
        })
        .collect();
    let circle = |name: &String| -> Vec<String> {
        let back = |other: &&String| reached.get(*other).is_some_and(|back| back.contains(name));
        reached[name].iter().copied().filter(back).cloned().collect()
    };
    let circles: BTreeSet<_> = uses.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    circles.into_iter().collect()
}

impl Module {
    fn read(text: &str) -> Self {
        let code = code_of(text).join("\n");
        let tokens = tokens(&code);
        let mut module = Self::default();
        let mut at = 0;
        while let Some(&token) = tokens.get(at) {
            at += 1;
            if token == "use" {
                at = module.import(&tokens, at, &[]);
            } else if ["crate", "self", "super"].contains(&token) {
                let mut path = vec![token.to_owned()];
                while tokens.get(at) == Some(&"::") && tokens.get(at + 1).is_some_and(is_word) {
                    path.push(tokens[at + 1].to_owned());
                    at += 2;
                }
                if path.len() > 1 {
                    module.paths.push(path);
                }
            } else if is_word(&token) {
                module.words.insert(token.to_owned());
            }
        }
        module
    }

    /// Reads what is imported from `before` on; gives back where it ends.
    fn import(&mut self, tokens: &[&str], mut at: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        while let Some(&token) = tokens.get(at) {
            at += 1;
            match token {
                "::" => {}
                "{" => loop {
                    at = self.import(tokens, at, &path);
                    match tokens.get(at) {
                        Some(&",") => at += 1,
                        _ => return at + 1,
                    }
                },
                "*" => {
                    self.imports.push(Import { path, name: "*".into() });
                    return at;
                }
                word if is_word(&word) && word != "as" => {
                    if word != "self" || path.is_empty() {
                        path.push(word.to_owned());
                    }
                }
                _ => {
                    let alias = tokens.get(at).filter(|_| token == "as");
                    at = if alias.is_some() { at + 1 } else { at - 1 };
                    let name = alias.map(|&name| name.to_owned()).or_else(|| path.last().cloned());
                    if let Some(name) = name.filter(|_| path.len() > before.len().min(1)) {
                        self.imports.push(Import { path, name });
                    }
                    return at;
                }
            }
        }
        at
    }
}

fn is_word(token: &&str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_part(first) {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}
