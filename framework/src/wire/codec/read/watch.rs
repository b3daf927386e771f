//! Watchers of a value that is read.

use super::super::fault::Fault;

/// Sees what is read, beside the bytes, and may end it.
pub(in crate::wire::codec) trait Watch {
    /// Set if the value may end before its last fields, which an older program does not have.
    const SHORTER: bool = false;

    /// A part of the value, before its bytes.
    #[inline(always)]
    fn part(&mut self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    /// The one of those that has this number.
    #[inline(always)]
    fn variant(&mut self, _: u32, _: &'static [&'static str]) -> Result<(), Fault> {
        Ok(())
    }
    /// Fields begin, of what has this name, if it has one; theirs, if they have any.
    #[inline(always)]
    fn open(&mut self, _: &'static str, _: &'static [&'static str]) -> Result<(), Fault> {
        Ok(())
    }
    /// The next field, before what is in it.
    #[inline(always)]
    fn field(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    /// The fields end.
    #[inline(always)]
    fn close(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Watch for super::super::write::Unwatched {}

/// Nobody looks at what may be shorter: a type of its own, so that what all else is read with does
/// not ask.
pub(in crate::wire::codec) struct Shorter;

impl Watch for Shorter {
    const SHORTER: bool = true;
}
