//! `#[derive(RemoteMessage)]`, which `estafette` re-exports: nobody needs this crate by itself.
//!
//! ```
//! use estafette::RemoteMessage; // the trait and the derive
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, RemoteMessage)]
//! #[remote(name = "greeter.Hello", reply = String)]
//! struct Hello {
//!     name: String,
//! }
//! // Any actix actor with a `Handler<Hello>` answers it, from whichever node it is asked.
//! assert_eq!(Hello::NAME, "greeter.Hello");
//! ```
//! Programs with it, such as `examples/greeter` of the repository, are run by its tests.

mod travels;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, LitInt, LitStr, Token, Type, parse_macro_input, parse_quote};

/// Makes a serde type a message for actors on other nodes, and an `actix::Message`.
///
/// ```
/// # use estafette::RemoteMessage;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, RemoteMessage)]
/// #[remote(name = "greeter.Hello", version = 2, reply = String)]
/// struct Hello { name: String }
/// # assert_eq!((Hello::NAME, Hello::VERSION), ("greeter.Hello", 2));
/// ```
/// `name`: what it is called on the wire; by default the name of the type. `version`: by default 1.
/// `reply`: what an actor answers; by default `()`. `json`: whoever takes it takes it as JSON, too,
/// from programs that don't have the type; needs the feature `json` of `estafette`. `schema`: the
/// same, and its node tells what it looks like; needs the feature `schema`, and `JsonSchema` of
/// `schemars` on the type and its reply.
///
/// Attributes of serde with which a value would not be read as it is written are refused.
#[proc_macro_derive(RemoteMessage, attributes(remote))]
pub fn remote_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

struct Settings {
    name: String,
    version: u32,
    reply: Type,
    /// Set if it is taken as JSON, too.
    json: bool,
    /// Set if its schemas are told.
    schema: bool,
}

fn settings(input: &DeriveInput) -> Result<Settings, Error> {
    let mut settings = Settings {
        name: input.ident.to_string(),
        version: 1,
        reply: parse_quote!(()),
        json: false,
        schema: false,
    };
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("remote")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                let name: LitStr = meta.value()?.parse()?;
                settings.name = name.value();
                if settings.name.is_empty() || settings.name.len() > 128 {
                    return Err(Error::new(
                        name.span(),
                        "the name of a message has 1 to 128 bytes",
                    ));
                }
            } else if meta.path.is_ident("version") {
                let version: LitInt = meta.value()?.parse()?;
                let wrong = |_| {
                    Error::new(
                        version.span(),
                        "the version of a message is a number from 0 to 4294967295",
                    )
                };
                settings.version = version.base10_parse().map_err(wrong)?;
            } else if meta.path.is_ident("reply") {
                settings.reply = meta.value()?.parse()?;
            } else if meta.path.is_ident("json") {
                settings.json = true;
            } else if meta.path.is_ident("schema") {
                (settings.json, settings.schema) = (true, true);
            } else {
                return Err(meta.error(
                    "unknown here; known are `name = \"…\"`, `version = 1`, `reply = Type`, \
                     `json` and `schema`",
                ));
            }
            if !meta.input.is_empty() && !meta.input.peek(Token![,]) {
                return Err(meta.input.error("a comma is wanted here"));
            }
            Ok(())
        })?;
    }
    Ok(settings)
}

fn expand(input: &DeriveInput) -> Result<proc_macro2::TokenStream, Error> {
    let Settings { name, version, reply, json, schema } = settings(input)?;
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a message for other nodes can't be generic: its name on the wire stands for one type",
        ));
    }
    travels::check(input)?;
    let ident = &input.ident;
    let json = json.then(|| {
        quote! {
            const JSON: bool = ::estafette::__private::needs_the_feature_json();
        }
    });
    let schemas = schema.then(|| {
        quote! {
            fn schemas() -> ::std::option::Option<&'static ::estafette::remote::Schemas> {
                static SCHEMAS: ::std::sync::OnceLock<::estafette::remote::Schemas> =
                    ::std::sync::OnceLock::new();
                ::std::option::Option::Some(SCHEMAS.get_or_init(
                    ::estafette::__private::needs_the_feature_schema::<Self, #reply>,
                ))
            }
        }
    });
    Ok(quote! {
        impl ::estafette::__private::actix::Message for #ident {
            type Result = #reply;
        }

        impl ::estafette::remote::RemoteMessage for #ident {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            #json
            #schemas
        }
    })
}
