//! Compresses the parts of a request: what several parts share is compressed once and spliced into each.
//!
//! A snappy block is a length followed by elements, and an element refers only to what came before it in the same
//! block. So the elements of one block may follow those of another, under the sum of their lengths.

/// The longest length of a block, a varint of 32 bits, in bytes.
const LENGTH_BYTES_MAX: usize = 5;

/// Pieces of snappy blocks, and the block that is being made of them. Keeps buffers from one request to the next.
pub(super) struct Packer {
    encoder: snap::raw::Encoder,
    /// What is to be compressed.
    raw: Vec<u8>,
    packed: Vec<u8>,
    /// Elements of the pieces that are kept.
    kept: Vec<u8>,
    pieces: Vec<Piece>,
    /// Elements of the block, and how many bytes they stand for.
    elements: Vec<u8>,
    len: usize,
}

/// Where the elements of a piece are in `kept`, and how many bytes they stand for.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
    len: usize,
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            encoder: snap::raw::Encoder::new(),
            raw: Vec::new(),
            packed: Vec::new(),
            kept: Vec::new(),
            pieces: Vec::new(),
            elements: Vec::new(),
            len: 0,
        }
    }
}

impl Packer {
    /// Forgets the pieces of the request before, and a block that was not ended.
    pub(super) fn start(&mut self) {
        for buffer in [&mut self.raw, &mut self.kept, &mut self.elements] {
            buffer.clear();
        }
        self.pieces.clear();
        self.len = 0;
    }

    /// How many bytes the block stands for so far.
    pub(super) fn bytes(&self) -> usize {
        self.len + self.raw.len()
    }

    /// Compresses a piece, to be spliced by its number. No block is begun yet.
    pub(super) fn keep<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) {
        slices.for_each(|slice| self.raw.extend_from_slice(slice));
        let start = self.kept.len();
        let len = self.raw.len();
        compress(&mut self.encoder, &mut self.raw, &mut self.packed, &mut self.kept);
        self.pieces.push(Piece { start, end: self.kept.len(), len });
    }

    /// Adds a piece that was kept to the block; false where there is none of this number.
    pub(super) fn splice(&mut self, number: usize) -> bool {
        let Some(&Piece { start, end, len }) = self.pieces.get(number) else { return false };
        self.end_raw();
        self.elements.extend_from_slice(self.kept.get(start..end).unwrap_or_default());
        self.len += len;
        true
    }

    /// Adds to the block what `append` appends.
    pub(super) fn write(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.raw);
    }

    /// Ends the block, in a vector of just its size.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.end_raw();
        let mut block = Vec::with_capacity(LENGTH_BYTES_MAX + self.elements.len());
        let mut len = self.len;
        while len >= 0x80 {
            block.push(len as u8 | 0x80);
            len >>= 7;
        }
        block.push(len as u8);
        block.extend_from_slice(&self.elements);
        self.elements.clear();
        self.len = 0;
        block
    }

    /// Gives buffers of more bytes back.
    pub(super) fn give_back(&mut self, bytes_max: usize) {
        for buffer in [&mut self.raw, &mut self.packed, &mut self.kept, &mut self.elements] {
            if buffer.capacity() > bytes_max {
                *buffer = Vec::new();
            }
        }
    }

    /// Bytes of all buffers.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        [&self.raw, &self.packed, &self.kept, &self.elements].map(Vec::capacity).iter().sum()
    }

    /// Compresses what was written into the block.
    fn end_raw(&mut self) {
        self.len += self.raw.len();
        compress(&mut self.encoder, &mut self.raw, &mut self.packed, &mut self.elements);
    }
}

/// Compresses `raw`, which is empty then, and appends the elements to `out`.
fn compress(encoder: &mut snap::raw::Encoder, raw: &mut Vec<u8>, packed: &mut Vec<u8>, out: &mut Vec<u8>) {
    if raw.is_empty() {
        return;
    }
    let most = snap::raw::max_compress_len(raw.len());
    if packed.len() < most {
        packed.resize(most, 0);
    }
    // Fails only for a buffer that is too small or more than 4 GiB of input, and both are excluded.
    let length = encoder.compress(raw, packed).unwrap_or(0);
    let block = packed.get(..length).unwrap_or_default();
    let head = block.iter().position(|byte| *byte < 0x80).map_or(length, |last| last + 1);
    out.extend_from_slice(block.get(head..).unwrap_or_default());
    raw.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn decompress(block: &[u8]) -> Vec<u8> {
        snap::raw::Decoder::new().decompress_vec(block).unwrap()
    }

    #[test]
    fn blocks_of_pieces_and_of_what_is_between_them() {
        let long: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7 % 1000).to_le_bytes()).collect();
        let pieces: [&[u8]; 4] = [b"one one one one one one", &long, b"", b"three"];
        let mut packer = Packer::default();
        for _ in 0..2 {
            packer.start();
            for piece in pieces {
                packer.keep(piece.chunks(1000));
            }
            let orders: [&[usize]; 5] = [&[0, 1, 2, 3], &[3, 0], &[2], &[], &[1, 1, 0]];
            for order in orders {
                let mut expected = Vec::new();
                for &number in order {
                    packer.write(|raw| raw.extend_from_slice(b"between"));
                    assert!(packer.splice(number));
                    expected.extend_from_slice(b"between");
                    expected.extend_from_slice(pieces[number]);
                }
                assert!(!packer.splice(4));
                packer.write(|raw| raw.extend_from_slice(&long));
                expected.extend_from_slice(&long);
                assert_eq!(packer.bytes(), expected.len());
                assert_eq!(decompress(&packer.finish()), expected);
            }
        }
        assert_eq!(packer.finish(), [0], "nothing is an empty block");
        packer.give_back(0);
        assert!(!packer.splice(4));
    }
}
