//! The doors as kinds, made of settings in a topology: `door = { http = "127.0.0.1:7480" }`.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use estafette::node::{DoorPlace, FileStore, OpenDoor, StageRegistry};
use futures_util::future::BoxFuture;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::serve::{Security, serve_with};
use crate::{Access, CONNECTIONS, Tokens};

/// Registers the kinds of doors `http` and, with the features of their names, `grpc` and `webhook`.
#[must_use]
pub fn with_kinds(registry: StageRegistry) -> StageRegistry {
    #[cfg(feature = "schema")]
    let registry = with_schemas(registry);
    #[cfg(feature = "http")]
    let registry = registry.door_kind("http", |Short(settings): Short<HttpSettings>| {
        settings.door.check().map(|()| settings)
    });
    #[cfg(feature = "grpc")]
    let registry = registry
        .door_kind("grpc", |Short(settings): Short<self::grpc::GrpcSettings>| {
            settings.check().map(|()| settings)
        });
    #[cfg(feature = "webhooks")]
    let registry = crate::webhook::with_kind(registry);
    registry
}

#[cfg(feature = "schema")]
fn with_schemas(registry: StageRegistry) -> StageRegistry {
    #[cfg(feature = "http")]
    let registry =
        registry.kind_schema::<Short<HttpSettings>>(estafette::node::KindOf::Door, "http");
    #[cfg(feature = "grpc")]
    let registry = registry
        .kind_schema::<Short<self::grpc::GrpcSettings>>(estafette::node::KindOf::Door, "grpc");
    registry
}

/// The settings of all doors.
#[derive(Clone, Debug)]
struct Common {
    listen: String,
    tokens: BTreeSet<String>,
    connections: usize,
    /// The inboxes of the node that may be read through it.
    read: BTreeSet<String>,
    /// Those of which it may be said through it that what arrived is processed.
    done: BTreeSet<String>,
    /// The origins of pages that may ask.
    origins: BTreeSet<String>,
    #[cfg(feature = "tls")]
    tls: Option<TlsTable>,
}

/// Certificates, in files of PEM.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct TlsTable {
    /// The certificates of the door, its own first
    cert: PathBuf,
    /// The key of that one
    key: PathBuf,
    /// The authority of clients that come in by their certificates
    client_ca: Option<PathBuf>,
}

#[cfg(feature = "tls")]
impl TlsTable {
    /// With paths from where the settings are.
    fn placed(self) -> Self {
        let place = estafette::node::units::path::from_base;
        Self { cert: place(self.cert), key: place(self.key), client_ca: self.client_ca.map(place) }
    }

    fn read(&self) -> Result<crate::Tls, String> {
        let tls = crate::Tls::of_files(&self.cert, &self.key, self.client_ca.clone());
        tls.map_err(|error| error.to_string())
    }
}

/// A door for HTTP.
#[cfg(feature = "http")]
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct HttpTable {
    /// The address it listens at: HOST:PORT
    listen: String,
    /// The names of the tokens that it lets in; default: all of the node's key
    #[serde(default)]
    tokens: BTreeSet<String>,
    /// The most connections at once
    #[serde(default = "connections")]
    connections: usize,
    /// The inboxes of its node of which tokens with that right may read what arrived; `*` for all
    #[serde(default)]
    read: BTreeSet<String>,
    /// Those of them of which tokens with that right may say that what arrived is processed
    #[serde(default)]
    done: BTreeSet<String>,
    /// The origins of pages of browsers that may ask, `https://shop.example`; default: none may
    #[serde(default)]
    origins: BTreeSet<String>,
    /// By TLS alone, with these certificates
    #[cfg(feature = "tls")]
    #[serde(default)]
    tls: Option<TlsTable>,
}

#[cfg(feature = "http")]
#[derive(Clone, Debug)]
struct HttpSettings {
    door: Common,
}

const fn connections() -> usize {
    CONNECTIONS
}

/// Settings that may be written as a table, or as the address alone.
struct Short<T>(T);

/// Settings of which all but the address have defaults.
trait OfAddress {
    type Table: for<'de> Deserialize<'de>;

    fn of_address(listen: String) -> Self;
    fn of_table(table: Self::Table) -> Self;
}

#[cfg(feature = "http")]
impl OfAddress for HttpSettings {
    type Table = HttpTable;

    fn of_address(listen: String) -> Self {
        Self { door: Common::at(listen) }
    }

    fn of_table(table: HttpTable) -> Self {
        let door = Common {
            listen: table.listen,
            tokens: table.tokens,
            connections: table.connections,
            read: table.read,
            done: table.done,
            origins: table.origins,
            #[cfg(feature = "tls")]
            tls: table.tls.map(TlsTable::placed),
        };
        Self { door }
    }
}

impl<'de, T: OfAddress> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: OfAddress> Visitor<'de> for Either<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address, or a table of settings")
            }

            fn visit_str<E: serde::de::Error>(self, address: &str) -> Result<T, E> {
                Ok(T::of_address(address.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
                T::Table::deserialize(MapAccessDeserializer::new(table)).map(T::of_table)
            }
        }
        deserializer.deserialize_any(Either(PhantomData)).map(Self)
    }
}

#[cfg(feature = "schema")]
impl<T: OfAddress> schemars::JsonSchema for Short<T>
where
    T::Table: schemars::JsonSchema,
{
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::Table::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<T::Table>();
        let address = schemars::json_schema!({ "type": "string", "pattern": ".:[0-9]+$" });
        schemars::json_schema!({ "anyOf": [address, table] })
    }
}

impl Common {
    const fn at(listen: String) -> Self {
        Self {
            listen,
            tokens: BTreeSet::new(),
            connections: CONNECTIONS,
            read: BTreeSet::new(),
            done: BTreeSet::new(),
            origins: BTreeSet::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    fn check(&self) -> Result<(), String> {
        let (host, port) = self.listen.rsplit_once(':').unwrap_or((&self.listen, ""));
        if host.is_empty() || port.parse::<u16>().is_err() || host.contains('/') {
            return Err(format!("it can't listen at {:?}: an address is HOST:PORT", self.listen));
        }
        if !(1..=65_536).contains(&self.connections) {
            return Err("connections are 1 to 65536".into());
        }
        self.pages()?;
        self.reads().map(drop)
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, clippy::unnecessary_wraps))]
    fn prepare(&self) -> Result<(), String> {
        #[cfg(feature = "tls")]
        self.tls.as_ref().map(TlsTable::read).transpose()?;
        Ok(())
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self))]
    fn private_files(&self) -> Vec<(&'static str, PathBuf)> {
        #[cfg(feature = "tls")]
        return self.tls.iter().map(|tls| ("tls.key", tls.key.clone())).collect();
        #[cfg(not(feature = "tls"))]
        Vec::new()
    }

    /// Makes the access: who comes in, and where to. It blocks.
    fn access(&self, at: &DoorPlace) -> Result<Access, String> {
        let mut folder = at.key.clone().into_os_string();
        folder.push(".trust");
        let store = FileStore::open(folder)
            .map_err(|error| format!("the folder of its tokens can't be opened: {error}"))?;
        let tokens = Tokens::load(Arc::new(store)).map_err(|error| error.to_string())?;
        let mut access = Access::of(&at.node, &tokens).named(&at.name);
        if !self.tokens.is_empty() {
            access = access.of_tokens(self.tokens.iter().cloned());
        }
        let rights = at.to.iter().map(|to| to.parse::<crate::Right>());
        let rights = rights.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        access = access.pages_of(self.pages()?);
        Ok(access.to(rights.into_iter().chain(self.reads()?)))
    }

    /// The origins of pages that may ask.
    fn pages(&self) -> Result<Vec<crate::Origin>, String> {
        crate::pages::check(self.origins.len())?;
        let origins = self.origins.iter().map(|origin| origin.parse());
        origins.collect::<Result<_, _>>().map_err(|error: crate::OriginError| error.to_string())
    }

    /// The rights in inboxes here, of which a door has none that it does not say.
    fn reads(&self) -> Result<Vec<crate::Right>, String> {
        let read = self.read.iter().map(|inbox| format!("read:{inbox}"));
        let done = self.done.iter().map(|inbox| format!("done:{inbox}"));
        let rights = read.chain(done).map(|right| right.parse());
        rights.collect::<Result<_, _>>().map_err(|error: crate::RightError| error.to_string())
    }

    /// Serves what is made of the access.
    fn open(
        &self,
        at: DoorPlace,
        router: impl FnOnce(&Access) -> Result<axum::Router, String> + Send + 'static,
    ) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>> {
        let common = self.clone();
        Box::pin(async move {
            let (own, listeners) = (common.clone(), at.listeners.clone());
            #[cfg(feature = "tls")]
            let tls = common.tls.as_ref().map(TlsTable::read).transpose()?;
            let access = estafette::node::blocking(move || own.access(&at));
            let access = access.await.map_err(|error| error.to_string())??;
            #[cfg(feature = "tls")]
            let security = tls.map(Security::from).unwrap_or_default();
            #[cfg(not(feature = "tls"))]
            let security = Security::default();
            let (router, connections) = (router(&access)?, common.connections);
            let served = serve_with(router, &common.listen, connections, security, &listeners);
            let serving = served.await.map_err(|error| error.to_string())?;
            Ok(Box::new(serving) as Box<dyn OpenDoor>)
        })
    }
}

#[cfg(feature = "http")]
impl estafette::node::Door for HttpSettings {
    fn address(&self) -> &str {
        &self.door.listen
    }

    fn private_files(&self) -> Vec<(&'static str, PathBuf)> {
        self.door.private_files()
    }

    fn prepare(&self) -> Result<(), String> {
        self.door.prepare()
    }

    fn open(&self, at: DoorPlace) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>> {
        self.door.open(at, |access| Ok(crate::http(access)))
    }
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use estafette::node::{Door, DoorPlace, OpenDoor};
    use futures_util::future::BoxFuture;
    use serde::Deserialize;

    use super::{Common, OfAddress};
    use crate::grpc::{Method, Methods};

    /// A door for gRPC.
    #[derive(Clone, Debug, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(deny_unknown_fields)]
    pub(super) struct GrpcTable {
        /// The address it listens at: HOST:PORT
        listen: String,
        /// The names of the tokens that it lets in; default: all of the node's key
        #[serde(default)]
        tokens: BTreeSet<String>,
        /// The most connections at once
        #[serde(default = "super::connections")]
        connections: usize,
        /// The origins of pages of browsers that may call by gRPC-Web, `https://shop.example`;
        /// default: none may
        #[serde(default)]
        origins: BTreeSet<String>,
        /// By TLS alone, with these certificates
        #[cfg(feature = "tls")]
        #[serde(default)]
        tls: Option<super::TlsTable>,
        /// Actors by the paths of methods: WAY:PEER/NAME, or WAY:PEER/NAME:TYPE@VERSION for JSON
        #[serde(default)]
        methods: BTreeMap<String, String>,
        /// Files of protos
        #[serde(default, deserialize_with = "paths")]
        #[cfg_attr(feature = "schema", schemars(with = "Vec<PathBuf>"))]
        protos: Vec<PathBuf>,
        /// Folders that protos import from; default: those of the protos
        #[serde(default, deserialize_with = "paths")]
        #[cfg_attr(feature = "schema", schemars(with = "Vec<PathBuf>"))]
        includes: Vec<PathBuf>,
        /// Actors by the names of services of the protos: PEER/NAME, or typed:PEER/NAME for one
        /// that has the types of the proto
        #[serde(default)]
        services: BTreeMap<String, String>,
    }

    #[derive(Clone, Debug)]
    pub(super) struct GrpcSettings {
        door: Common,
        methods: BTreeMap<String, String>,
        protos: Vec<PathBuf>,
        includes: Vec<PathBuf>,
        services: BTreeMap<String, String>,
    }

    fn paths<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<PathBuf>::deserialize(deserializer)?;
        Ok(paths.into_iter().map(estafette::node::units::path::from_base).collect())
    }

    impl OfAddress for GrpcSettings {
        type Table = GrpcTable;

        fn of_address(listen: String) -> Self {
            let door = Common::at(listen);
            let (methods, protos, includes, services) = Default::default();
            Self { door, methods, protos, includes, services }
        }

        fn of_table(table: GrpcTable) -> Self {
            let door = Common {
                listen: table.listen,
                tokens: table.tokens,
                connections: table.connections,
                read: BTreeSet::new(),
                done: BTreeSet::new(),
                origins: table.origins,
                #[cfg(feature = "tls")]
                tls: table.tls.map(super::TlsTable::placed),
            };
            let GrpcTable { methods, protos, includes, services, .. } = table;
            Self { door, methods, protos, includes, services }
        }
    }

    impl GrpcSettings {
        pub(super) fn check(&self) -> Result<(), String> {
            self.door.check()?;
            self.methods().map(drop)?;
            if self.protos.is_empty() && !self.services.is_empty() {
                return Err(
                    "services are of protos: name their files, protos = [\"x.proto\"]".into()
                );
            }
            let has_protos = !(self.protos.is_empty() && self.includes.is_empty());
            if cfg!(not(feature = "proto")) && has_protos {
                return Err("this program reads no protos".into());
            }
            Ok(())
        }

        /// Those that are named by themselves.
        fn methods(&self) -> Result<Methods, String> {
            let mut methods = Methods::new();
            for (path, method) in &self.methods {
                let method: Method = method.parse().map_err(|error| format!("{error}"))?;
                methods = methods.method(path, &method).map_err(|error| error.to_string())?;
            }
            Ok(methods)
        }

        #[cfg(feature = "proto")]
        fn with_services(&self, mut methods: Methods) -> Result<Methods, String> {
            use crate::grpc::{Protos, Service};
            if self.protos.is_empty() {
                return Ok(methods);
            }
            let folder = |path: &PathBuf| path.parent().map(ToOwned::to_owned);
            let includes: Vec<_> = match &self.includes[..] {
                [] => self.protos.iter().filter_map(folder).collect(),
                given => given.to_vec(),
            };
            let protos = Protos::compile(&self.protos, includes);
            let protos = protos.map_err(|error| error.to_string())?;
            for (name, to) in &self.services {
                let service: Service = to.parse().map_err(|error| format!("{error}"))?;
                let added = methods.service(&protos, name, &service);
                methods = added.map_err(|error| error.to_string())?;
            }
            Ok(methods)
        }

        #[cfg(not(feature = "proto"))]
        #[expect(clippy::unnecessary_wraps, reason = "with protos there is something to fail")]
        fn with_services(&self, methods: Methods) -> Result<Methods, String> {
            Ok(methods)
        }
    }

    impl Door for GrpcSettings {
        fn address(&self) -> &str {
            &self.door.listen
        }

        fn private_files(&self) -> Vec<(&'static str, PathBuf)> {
            self.door.private_files()
        }

        fn prepare(&self) -> Result<(), String> {
            self.with_services(self.methods()?)?;
            self.door.prepare()
        }

        fn open(&self, at: DoorPlace) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>> {
            let settings = self.clone();
            self.door.open(at, move |access| {
                let methods = settings.with_services(settings.methods()?)?;
                Ok(crate::grpc::grpc(access, methods))
            })
        }
    }
}

#[cfg(all(test, feature = "http"))]
mod tests;
