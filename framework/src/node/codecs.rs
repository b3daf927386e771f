//! The codecs of a registry, and the choice of one for a transfer.
//!
//! Invariant: a codec that a transfer uses is registered at both ends, or is refused by its name
//! before the first chunk.

use super::registry_error::RegistryError;
use super::stages::Stages;
use crate::pipeline::{CODEC_NAME_LIMIT, ChunkCodec, Codec, Compression, SharedCodec, Transfer};
use crate::wire::{STAGES_LIMIT, join_codec, split_codec};

/// The first bit of the codecs in the features of an offer, a bit each.
const FIRST_FEATURE: u32 = 32;

/// The name of the codec that every node has.
const SNAPPY: &str = Compression::NAMES[0].1;
/// The first number of a program's own.
const OWN_FROM: u8 = 16;

/// The feature that announces a codec, if one does.
pub(crate) fn feature(codec: Codec) -> u64 {
    if codec.0 < 32 { 1 << (FIRST_FEATURE + u32::from(codec.0)) } else { 0 }
}

/// Returns the names of the stages for an opening.
pub(crate) fn stages_of(coders: &[String], transfer: &Transfer) -> Vec<String> {
    join_codec(coders, Stages::codec_name(transfer.codec.as_ref()))
}

/// The codec that an opening names.
pub(crate) fn codec_of(stages: &[String]) -> Option<String> {
    Some(split_codec(stages).1.unwrap_or(SNAPPY).to_owned())
}

/// Returns `true` if the other end of a link with these features has it, as far as is known.
pub(crate) fn is_common(codec: Codec, features: u64) -> bool {
    matches!(codec, Codec::RAW | Codec::SNAPPY) || features & feature(codec) != 0
}

impl Stages {
    /// The codecs that are registered, by their numbers.
    pub fn codecs(&self) -> impl Iterator<Item = &dyn ChunkCodec> {
        self.codecs.values().map(|codec| &**codec)
    }

    /// The codec that this names, if it is one.
    pub fn chosen_codec(
        &self,
        compression: Compression,
    ) -> Result<Option<SharedCodec>, RegistryError> {
        let id = compression.codec();
        if id == Codec::RAW {
            return Ok(None);
        }
        let found = self.codecs.get(&id).cloned();
        found.map(Some).ok_or_else(|| self.unknown_codec(format!("number {}", id.0)))
    }

    /// The coders among the stages that an opening or a label names, and the codec that chunks may
    /// be compressed with.
    pub fn named_codec<'a>(
        &self,
        stages: &'a [String],
    ) -> Result<(&'a [String], Option<SharedCodec>), RegistryError> {
        let (coders, name) = split_codec(stages);
        let name = name.unwrap_or(SNAPPY);
        let found = self.codecs.values().find(|codec| codec.name() == name).cloned();
        let found = found.ok_or_else(|| self.unknown_codec(format!("{name:?}")))?;
        Ok((coders, Some(found)))
    }

    /// The name of a codec in an opening or a label: none where every node has it.
    pub(crate) fn codec_name(codec: Option<&SharedCodec>) -> Option<&str> {
        codec.filter(|codec| codec.id() != Codec::SNAPPY).map(|codec| codec.name())
    }

    /// Returns the codec that a node chooses by itself: the preferred one, where the other end has
    /// it, and an opening that names these coders has room for its name.
    pub(crate) fn preferred_codec(
        &self,
        preferred: Compression,
        features: u64,
        coders: &[String],
    ) -> Option<SharedCodec> {
        let preferred = preferred.codec();
        let codec = if is_common(preferred, features) { preferred } else { Codec::SNAPPY };
        let codec = self.codecs.get(&codec);
        match Self::check_count(coders, Self::codec_name(codec)) {
            Ok(()) => codec.cloned(),
            Err(_) => self.codecs.get(&Codec::SNAPPY).cloned(),
        }
    }

    /// The features of an offer that announce the codecs.
    pub(crate) fn codec_features(&self) -> u64 {
        self.codecs.keys().fold(0, |features, codec| features | feature(*codec))
    }

    /// Refuses more stages than an opening has room for.
    pub(crate) fn check_count(coders: &[String], codec: Option<&str>) -> Result<(), RegistryError> {
        match coders.len() + usize::from(codec.is_some()) {
            given if given > STAGES_LIMIT => {
                Err(RegistryError::TooManyStages { given, limit: STAGES_LIMIT })
            }
            _ => Ok(()),
        }
    }

    /// Refuses an unknown codec, and one for whose name an opening has no room.
    pub(crate) fn check_asked(
        &self,
        coders: &[String],
        asked: Option<Compression>,
    ) -> Result<(), RegistryError> {
        let codec = asked.map(|asked| self.chosen_codec(asked)).transpose()?.flatten();
        Self::check_count(coders, Self::codec_name(codec.as_ref()))
    }

    pub(super) fn check_codecs(&self) -> Result<(), RegistryError> {
        let unfit = |what, why| Err(RegistryError::Unfit { what, why });
        // What names no codec may be compressed with it.
        if !self.codecs.contains_key(&Codec::SNAPPY) {
            return Err(RegistryError::Missing { what: "codec snappy (every node has it)" });
        }
        for codec in self.codecs() {
            let (what, name) = (format!("the codec {:?}", codec.name()), codec.name());
            let is_taken =
                |other: &dyn ChunkCodec| other.name() == name && other.id() != codec.id();
            if matches!(codec.id(), Codec::RAW | Codec::TRAILER) {
                return unfit(
                    what,
                    "the numbers 0 and 255 mean chunks as they are, and the trailer",
                );
            }
            if name.is_empty()
                || name.len() > CODEC_NAME_LIMIT
                || name.chars().any(char::is_control)
            {
                return unfit(what, "a name has 1 to 58 bytes, all of them printable");
            }
            if self.codecs().any(is_taken) {
                return unfit(what, "another one has its name");
            }
            let mut ours = Compression::NAMES.iter().map(|(ours, name)| (ours.codec(), *name));
            let is_ours = ours.clone().any(|(id, _)| id == codec.id());
            if ours.any(|(id, ours)| (id == codec.id()) != (ours == name))
                || (codec.id().0 < OWN_FROM && !is_ours)
            {
                return unfit(
                    what,
                    "numbers up to 15 are this project's (1 is snappy, 2 is lz4), and so are the \
                     names of these: a program's own has another name, and a number from 16 on",
                );
            }
            if self.displacing.contains_key(&codec.id()) {
                return unfit(what, "another one was registered under its number before");
            }
        }
        match self.coder_names().find(|name| split_codec(&[(*name).to_owned()]).1.is_some()) {
            Some(name) => {
                unfit(format!("the coder {name:?}"), "what begins with \"codec:\" is a codec")
            }
            None => Ok(()),
        }
    }

    /// Says why a node could not prefer this: it is not registered, or other nodes could not say
    /// that they have it. A node that is to prefer it does not start.
    pub fn check_preference(&self, preferred: Compression) -> Result<(), RegistryError> {
        match self.chosen_codec(preferred)? {
            Some(codec) if !is_common(codec.id(), u64::MAX) => {
                let (name, number) = (codec.name().to_owned(), codec.id().0);
                Err(RegistryError::Unannounced { name, number })
            }
            _ => Ok(()),
        }
    }

    fn unknown_codec(&self, name: String) -> RegistryError {
        let known: Vec<_> = self.codecs().map(ChunkCodec::name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        RegistryError::UnknownCodec { name, known }
    }
}
