//! The signs of JSON, byte by byte. It finds where values begin and end, and leaves
//! it to the parser whether they are sound.

/// A container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
}

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Blanks, and what the programs of others put between two values.
    Blank,
    /// Before each value of a sequence (RFC 7464).
    Separator,
    LineEnd,
    Comma,
    Colon,
    Open(Kind),
    Close(Kind),
    TextStart,
    /// Inside of a text; also a line end there, which is an error.
    Text,
    TextEnd,
    /// Of a number, a word, or of what JSON does not know.
    Bare,
}

#[derive(Debug, Default)]
pub(super) struct Lexer {
    is_in_text: bool,
    is_escaped: bool,
}

impl Lexer {
    pub(super) fn take(&mut self, byte: u8) -> Token {
        if self.is_in_text {
            let is_end = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            self.is_in_text = !is_end;
            return if is_end { Token::TextEnd } else { Token::Text };
        }
        match byte {
            b'"' => {
                self.is_in_text = true;
                Token::TextStart
            }
            b'\n' => Token::LineEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'{' => Token::Open(Kind::Object),
            b'[' => Token::Open(Kind::List),
            b'}' => Token::Close(Kind::Object),
            b']' => Token::Close(Kind::List),
            0x1e => Token::Separator,
            // A byte order mark stands where files were put together.
            0xef | 0xbb | 0xbf => Token::Blank,
            byte if byte.is_ascii_whitespace() => Token::Blank,
            _ => Token::Bare,
        }
    }

    pub(super) fn is_in_text(&self) -> bool {
        self.is_in_text
    }
}
