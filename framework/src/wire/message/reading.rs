//! The items of a batch, read one by one.

use super::super::along::{Along, ON_BEHALF_LIMIT, may_be_said};
use super::super::trace::TraceContext;
use super::{
    Item, ItemError, NAME_LIMIT, ON_BEHALF, REPLY, STATE_LIMIT, Shape, TELL, TEXT_LIMIT, TRACED,
};

/// Reads a batch, item by item. After an error there is nothing more to read.
#[derive(Clone, Debug)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The items of this batch.
    pub const fn new(batch: &'a [u8]) -> Self {
        Self(batch)
    }

    /// The next item, if it is a tell without a trace that is easily read: most are, and this is
    /// the fast way to many. What this leaves, [`next_item`](Self::next_item) reads.
    #[inline]
    pub fn next_tell(&mut self) -> Option<(u32, &'a [u8])> {
        let (&kind, rest) = self.0.split_first()?;
        if kind != TELL {
            return None;
        }
        let (target, rest) = short_number(rest)?;
        let (length, rest) = short_number(rest)?;
        let (body, rest) = rest.split_at_checked(length as usize)?;
        self.0 = rest;
        Some((target, body))
    }

    /// The next item, if it is a reply to `call` without a trace.
    #[inline]
    pub fn next_reply(&mut self, call: u64) -> Option<&'a [u8]> {
        if self.0.first() != Some(&REPLY) {
            return None;
        }
        let mut ahead = Self(&self.0[1..]);
        if ahead.number().ok()? != call {
            return None;
        }
        let body = ahead.bytes().ok()?;
        *self = ahead;
        Some(body)
    }

    /// The next item, and what goes along with it.
    pub fn next_item(&mut self) -> Result<Option<(Item<'a>, Option<Along>)>, ItemError> {
        let Some((&kind, rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        let read = self.read(kind);
        if read.is_err() {
            self.0 = &[];
        }
        read.map(Some)
    }

    fn read(&mut self, kind: u8) -> Result<(Item<'a>, Option<Along>), ItemError> {
        if kind & (TRACED | ON_BEHALF) == 0 {
            return Ok((self.item(kind)?, None));
        }
        let trace = (kind & TRACED != 0).then(|| self.trace()).transpose()?;
        let on_behalf = (kind & ON_BEHALF != 0).then(|| self.on_behalf()).transpose()?;
        let along = Along { trace, on_behalf: on_behalf.map(Into::into) };
        Ok((self.item(kind & !(TRACED | ON_BEHALF))?, Some(along)))
    }

    fn on_behalf(&mut self) -> Result<&'a str, ItemError> {
        let who = self.text("on behalf", ON_BEHALF_LIMIT)?;
        match may_be_said(who) {
            true => Ok(who),
            false => Err(field("on behalf", "no text, or one with control characters")),
        }
    }

    fn trace(&mut self) -> Result<TraceContext, ItemError> {
        let (trace, span, flags) = (self.array()?, self.array()?, self.byte()?);
        Ok(TraceContext {
            trace,
            span,
            flags,
            state: self.text("trace state", STATE_LIMIT)?.to_owned(),
        })
    }

    fn item(&mut self, kind: u8) -> Result<Item<'a>, ItemError> {
        Ok(match kind {
            1 => Item::Bind {
                target: self.number32("target")?,
                name: self.text("name", NAME_LIMIT)?,
                message: self.text("message", NAME_LIMIT)?,
                version: self.number32("version")?,
            },
            TELL => Item::Tell { target: self.number32("target")?, body: self.bytes()? },
            3 => Item::Call {
                call: self.number()?,
                target: self.number32("target")?,
                shape: self.shape()?,
                body: self.bytes()?,
            },
            4 => Item::Request { call: self.number()?, body: self.bytes()? },
            5 => Item::RequestsEnd { call: self.number()? },
            REPLY => Item::Reply { call: self.number()?, body: self.bytes()? },
            7 => Item::RepliesEnd { call: self.number()? },
            8 => Item::Failed {
                call: self.number()?,
                code: self.byte()?,
                text: self.text("error", TEXT_LIMIT)?,
            },
            9 => Item::Cancel { call: self.number()? },
            10 => Item::Consumed {
                target: self.number32("target")?,
                tells: self.number()?,
                cost: self.number()?,
            },
            11 => Item::Credit {
                call: self.number()?,
                of_requests: self.flag("direction")?,
                cost: self.number()?,
            },
            12 => Item::Undelivered {
                target: self.number32("target")?,
                count: self.number()?,
                code: self.byte()?,
                text: self.text("error", TEXT_LIMIT)?,
            },
            13 => Item::Watch { watch: self.number()?, name: self.text("name", NAME_LIMIT)? },
            14 => Item::Unwatch { watch: self.number()? },
            15 => {
                Item::Status { watch: self.number()?, up: self.flag("status")?, code: self.byte()? }
            }
            16 => self.deliver()?,
            17 => self.taken()?,
            18 => Item::Begin { total: self.number32("length")? },
            19 => Item::Part { bytes: self.bytes()? },
            found => return Err(ItemError::UnknownKind { found }),
        })
    }

    fn deliver(&mut self) -> Result<Item<'a>, ItemError> {
        Ok(Item::Deliver {
            log: self.array()?,
            number: self.number()?,
            before: self.number()?,
            target: self.number32("target")?,
            expires: self.number()?,
            body: self.bytes()?,
        })
    }

    fn taken(&mut self) -> Result<Item<'a>, ItemError> {
        Ok(Item::Taken {
            log: self.array()?,
            number: self.number()?,
            code: self.byte()?,
            text: self.text("error", TEXT_LIMIT)?,
        })
    }

    fn byte(&mut self) -> Result<u8, ItemError> {
        let (&byte, rest) = self.0.split_first().ok_or(ItemError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ItemError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(ItemError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    /// LEB128 in its shortest form: another one would not be written back the same.
    fn number(&mut self) -> Result<u64, ItemError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let shortest = (byte != 0 || shift == 0) && (shift < 63 || byte == 1);
                return if shortest {
                    Ok(number)
                } else {
                    Err(field("number", "written that way"))
                };
            }
        }
        Err(field("number", "that long"))
    }

    fn number32(&mut self, name: &'static str) -> Result<u32, ItemError> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| field(name, number))
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, ItemError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(field(name, other)),
        }
    }

    fn shape(&mut self) -> Result<Shape, ItemError> {
        Ok(match self.byte()? {
            0 => Shape::Ask,
            1 => Shape::Replies,
            2 => Shape::Requests,
            3 => Shape::Both,
            other => return Err(field("shape", other)),
        })
    }

    fn bytes(&mut self) -> Result<&'a [u8], ItemError> {
        let length = self.number()?;
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= self.0.len())
            .ok_or(ItemError::Truncated)?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self, name: &'static str, limit: usize) -> Result<&'a str, ItemError> {
        let bytes = self.bytes()?;
        if bytes.len() > limit {
            return Err(field(
                name,
                format_args!("{} bytes long: {limit} are allowed", bytes.len()),
            ));
        }
        std::str::from_utf8(bytes).map_err(|_| field(name, "anything but text"))
    }
}

fn field(field: &'static str, given: impl ToString) -> ItemError {
    ItemError::Field { field, given: given.to_string() }
}

/// A number below 2¹⁴ in its shortest form.
#[inline]
fn short_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match *bytes {
        [low @ ..0x80, ref rest @ ..] => Some((low.into(), rest)),
        [low, high @ 1..0x80, ref rest @ ..] => {
            Some((u32::from(low & 0x7f) | u32::from(high) << 7, rest))
        }
        _ => None,
    }
}
