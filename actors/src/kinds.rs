//! The standard inboxes and sources as kinds: what settings they are made of.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::path::PathBuf;

use estafette::node::{StageRegistry, units};
use estafette::pipeline::{Refusal, Source, SourceError};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::sink::{FileSink, Folder, NullSink, OnConflict};
use crate::source::{BytesSource, Links, ReadOptions, check_pattern, from_paths_with};

/// The registry with the kinds of inboxes `folder` and `null`, and of sources `paths` and `text`.
pub(crate) fn with_kinds(registry: StageRegistry) -> StageRegistry {
    #[cfg(feature = "schema")]
    let registry = with_schemas(registry);
    registry
        .inbox_kind("folder", |Short(folder): Short<FolderSettings>| folder.make())
        .inbox_kind("null", |NullSettings {}| Ok::<_, Infallible>(NullSink::new()))
        .source_kind("paths", |Short(paths): Short<PathsSettings>| paths.make())
        .source_kind("text", |TextSettings { name, text }| BytesSource::new(name, text))
}

#[cfg(feature = "schema")]
fn with_schemas(registry: StageRegistry) -> StageRegistry {
    use estafette::node::KindOf;
    registry
        .kind_schema::<Short<FolderSettings>>(KindOf::Inbox, "folder")
        .kind_schema::<NullSettings>(KindOf::Inbox, "null")
        .kind_schema::<Short<PathsSettings>>(KindOf::Source, "paths")
        .kind_schema::<TextSettings>(KindOf::Source, "text")
}

/// Settings that may be written as a table, or as the most important one of them alone: a path.
struct Short<T>(T);

/// Settings of which all but paths have defaults.
trait OfPaths: for<'de> Deserialize<'de> {
    /// Set if there may be several.
    const SEVERAL: bool;

    fn of_paths(paths: Vec<PathBuf>) -> Self;
}

#[cfg(feature = "schema")]
impl<T: OfPaths + schemars::JsonSchema> schemars::JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<T>();
        let path = schemars::json_schema!({ "type": "string", "minLength": 1 });
        let paths = schemars::json_schema!({ "type": "array", "items": path, "minItems": 1 });
        match T::SEVERAL {
            true => schemars::json_schema!({ "anyOf": [path, paths, table] }),
            false => schemars::json_schema!({ "anyOf": [path, table] }),
        }
    }
}

impl<'de, T: OfPaths> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: OfPaths> Visitor<'de> for Either<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(if T::SEVERAL {
                    "a path, a list of paths, or a table of settings"
                } else {
                    "a path, or a table of settings"
                })
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<T, E> {
                if path.is_empty() {
                    return Err(E::custom("it is empty: name a path"));
                }
                Ok(T::of_paths(vec![units::path::from_base(path.into())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
                if !T::SEVERAL {
                    return Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &self));
                }
                paths(SeqAccessDeserializer::new(list)).map(T::of_paths)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(table))
            }
        }
        deserializer.deserialize_any(Either(PhantomData)).map(Self)
    }
}

/// Relative ones from where the settings are.
fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<PathBuf>::deserialize(deserializer)?;
    if paths.iter().all(|path| path.as_os_str().is_empty()) {
        return Err(D::Error::custom("it is empty: name a path"));
    }
    Ok(paths.into_iter().map(units::path::from_base).collect())
}

/// A folder; what is left out is as [`Folder`] has it, but links that lead out are made.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct FolderSettings {
    /// The folder; made if only its last part is missing.
    #[serde(deserialize_with = "place")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    into: PathBuf,
    /// The rule for a name that is taken.
    #[serde(default)]
    on_conflict: Conflict,
    /// The longest delivery that is taken.
    #[serde(default, deserialize_with = "size")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<units::SizeText>"))]
    max_bytes: Option<u64>,
    /// The most files, folders and links of one tree.
    #[serde(default)]
    max_files: Option<u64>,
    /// Takes names that begin with a dot.
    #[serde(default)]
    dotfiles: bool,
    /// Symbolic links that lead out of a delivery are kept or left out.
    #[serde(default)]
    links: OutwardLinks,
    /// Takes ACLs.
    #[serde(default)]
    acls: bool,
    /// Bytes of its disk that are left free.
    #[serde(default, deserialize_with = "size")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<units::SizeText>"))]
    keep_free: Option<u64>,
}

impl OfPaths for FolderSettings {
    const SEVERAL: bool = false;

    fn of_paths(mut paths: Vec<PathBuf>) -> Self {
        Self {
            into: paths.pop().unwrap_or_default(),
            on_conflict: Conflict::default(),
            max_bytes: None,
            max_files: None,
            dotfiles: false,
            links: OutwardLinks::default(),
            acls: false,
            keep_free: None,
        }
    }
}

#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Conflict {
    #[default]
    Refuse,
    Rename,
    Replace,
    Merge,
}

#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum OutwardLinks {
    #[default]
    Keep,
    Skip,
}

impl FolderSettings {
    /// The folder, which is made and written to now, so that a wrong path is known at once.
    fn make(self) -> Result<Folder, Refusal> {
        let policy = match self.on_conflict {
            Conflict::Refuse => OnConflict::Refuse,
            Conflict::Rename => OnConflict::Rename,
            Conflict::Replace => OnConflict::Replace,
            Conflict::Merge => OnConflict::Merge,
        };
        let folder = FileSink::into_dir(self.into)
            .on_conflict(policy)
            .dotfiles(self.dotfiles)
            .outward_links(matches!(self.links, OutwardLinks::Keep))
            .access_lists(self.acls);
        let folder = self.max_bytes.into_iter().fold(folder, Folder::max_bytes);
        let folder = self.max_files.into_iter().fold(folder, Folder::max_files);
        let folder = self.keep_free.into_iter().fold(folder, Folder::keep_free);
        folder.prepare()?;
        Ok(folder)
    }
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct NullSettings {}

/// Files and folders, as [`from_paths_with`] takes them.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct PathsSettings {
    /// Files and folders.
    #[serde(deserialize_with = "paths")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    paths: Vec<PathBuf>,
    /// The name of the delivery.
    #[serde(default)]
    name: Option<String>,
    /// Patterns of names that are left out.
    #[serde(default, deserialize_with = "patterns")]
    exclude: Vec<String>,
    /// Symbolic links that lead out are kept, left out or followed.
    #[serde(default)]
    links: LinksSent,
    /// Sends extended attributes and ACLs.
    #[serde(default)]
    xattrs: bool,
}

impl OfPaths for PathsSettings {
    const SEVERAL: bool = true;

    fn of_paths(paths: Vec<PathBuf>) -> Self {
        let (name, exclude, xattrs) = Default::default();
        Self { paths, name, exclude, links: LinksSent::default(), xattrs }
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    for pattern in &patterns {
        check_pattern(pattern)
            .map_err(|error| D::Error::custom(format!("{pattern:?}: {error}")))?;
    }
    Ok(patterns)
}

#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum LinksSent {
    Keep,
    #[default]
    Skip,
    Follow,
}

impl PathsSettings {
    fn make(self) -> Result<Box<dyn Source>, SourceError> {
        let links = match self.links {
            LinksSent::Keep => Links::Keep,
            LinksSent::Skip => Links::Skip,
            LinksSent::Follow => Links::Follow,
        };
        let options = ReadOptions::default().links(links).xattrs(self.xattrs);
        let options = self.name.into_iter().fold(options, ReadOptions::name);
        let options = self.exclude.into_iter().fold(options, ReadOptions::exclude);
        from_paths_with(self.paths, &options)
    }
}

/// A text in memory, for what is short.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct TextSettings {
    /// The name of the delivery.
    name: String,
    /// Its content.
    text: String,
}

/// A path that leads somewhere.
fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(D::Error::custom("it is empty: name a folder"));
    }
    Ok(units::path::from_base(path))
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    units::size::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use estafette::Identity;
    use estafette::delivery::{Content, ContentKind, ContentName, TransferId};
    use estafette::node::units;
    use estafette::pipeline::{Inbox, Offer};
    use serde_json::json;

    use crate::standard;

    fn offer(name: &str, length: u64) -> Offer {
        let content =
            Content::new(ContentKind::Bytes, ContentName::new(name).unwrap(), Some(length));
        Offer::new(Identity::generate().peer(), TransferId::random(), content)
    }

    #[test]
    fn a_folder_is_what_its_settings_say() {
        let place = tempfile::tempdir().unwrap();
        let into = place.path().join("in");
        let settings = json!({ "into": into, "max_bytes": "1KiB", "keep_free": 0 });
        let inbox = standard().inbox_of("folder", settings).unwrap();
        assert!(!into.exists());
        let inbox = inbox.make().unwrap();
        assert!(into.is_dir());
        assert!(inbox.open(&offer("letter", 1025)).unwrap_err().reason.contains("1025"));
        assert!(inbox.open(&offer(".letter", 1)).is_err());
        assert!(inbox.open(&offer("letter", 1024)).is_ok());
        let nowhere = json!({ "into": place.path().join("no/in") });
        let error = standard().inbox_of("folder", nowhere).unwrap().make().unwrap_err();
        assert!(error.to_string().contains("\"folder\" can't be made"), "{error}");
    }

    #[test]
    fn sources_are_what_their_settings_say() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("letter"), "Dear Paris").unwrap();
        let path = json!({ "paths": [place.path().join("letter")], "name": "post" });
        let text = json!({ "name": "post", "text": "Dear Paris" });
        for (kind, settings) in [("paths", path), ("text", text)] {
            let source = standard().source_of(kind, settings).unwrap().make().unwrap();
            let content = source.content();
            assert_eq!((content.name.as_bytes(), content.length), (&b"post"[..], Some(10)));
        }
        let missing = json!({ "paths": [place.path().join("none")] });
        let error = standard().source_of("paths", missing).unwrap().make().unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }

    #[test]
    fn a_path_alone_is_enough_and_begins_where_its_file_is() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("letter"), "Dear Paris").unwrap();
        let made = units::relative_to(place.path(), || {
            let table = json!({ "paths": ["letter"] });
            let sources = [json!("letter"), json!(["letter"]), table];
            let sources = sources.map(|settings| standard().source_of("paths", settings).unwrap());
            (sources, standard().inbox_of("folder", json!("in")).unwrap())
        });
        for source in made.0 {
            assert_eq!(source.make().unwrap().content().length, Some(10));
        }
        made.1.make().unwrap();
        assert!(place.path().join("in").is_dir());
        standard().inbox_of("folder", json!(["in"])).unwrap_err();
        standard().source_of("paths", json!([])).unwrap_err();
        standard().source_of("paths", json!({ "paths": [""] })).unwrap_err();
        standard().inbox_of("folder", json!(7)).unwrap_err();
    }

    #[test]
    fn settings_that_are_none_of_the_kind_are_refused() {
        for (kind, settings) in [
            ("folder", json!({})),
            ("folder", json!({ "into": "" })),
            ("folder", json!({ "into": "x", "dotfile": true })),
            ("folder", json!({ "into": "x", "on_conflict": "keep" })),
            ("null", json!({ "into": "x" })),
        ] {
            standard().inbox_of(kind, settings).unwrap_err();
        }
        standard().source_of("text", json!({ "text": "x" })).unwrap_err();
    }
}
