//! Reading fields in wire order.

/// A cursor over the bytes of one header. Every read is checked: `None` means
/// that the header is cut short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    #[inline]
    pub(crate) fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(|_| ())
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// What has not been read yet.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// `bytes[start..end]` as Python slices: what lies outside is left out.
#[inline]
pub(crate) fn slice(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    let end = end.min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}

/// How many more bytes the variable parts of items may have.
///
/// Items can claim bytes beyond their own length, which are then read again as
/// the next items. This keeps a crafted packet from growing into a text many
/// times its size; one whose items do not overlap never reaches it.
#[derive(Clone, Copy)]
pub(crate) struct Budget(usize);

impl Budget {
    /// Enough to read all bytes four times.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self(bytes.len() * 4)
    }

    /// `None` where it is used up.
    pub(crate) fn spend(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
}
