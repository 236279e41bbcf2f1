//! How a consumed record is printed: a format with kcat's letters, or one JSON object per line.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use krafka::ConsumerRecord;
use serde::Serialize;
use serde_json::{Map, Value};

/// A parsed `--format`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let piece = match (letter, letters.clone().next()) {
                ('%' | '\\', None) => {
                    return Err(format!("{letter} at the end stands for nothing; write {letter}{letter}"));
                }
                ('%', Some(name)) => piece(name)?,
                ('\\', Some(name)) => Piece::Text(escape(name)?.to_string()),
                (other, _) => {
                    plain.push(other);
                    continue;
                }
            };
            letters.next();
            match piece {
                Piece::Text(text) => plain.push_str(&text),
                piece => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }
}

fn piece(name: char) -> Result<Piece, String> {
    Ok(match name {
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'T' => Piece::Timestamp,
        'k' => Piece::Key,
        's' | 'v' => Piece::Value,
        'h' => Piece::Headers,
        '%' => Piece::Text("%".to_owned()),
        other => return Err(format!("%{other} is unknown; known are %t %p %o %T %k %v %h %%")),
    })
}

fn escape(name: char) -> Result<char, String> {
    Ok(match name {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '\\' => '\\',
        other => return Err(format!("\\{other} is unknown; known are \\n \\t \\r \\0 \\\\")),
    })
}

impl Format {
    /// Writes keys and values byte for byte. What is null is empty.
    pub(super) fn write(&self, record: &ConsumerRecord, out: &mut impl Write) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text.as_bytes())?,
                Piece::Topic => out.write_all(record.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", record.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp)?,
                Piece::Key => out.write_all(record.key.as_deref().unwrap_or_default())?,
                Piece::Value => out.write_all(record.value.as_deref().unwrap_or_default())?,
                Piece::Headers => {
                    for (index, (key, value)) in record.headers.iter().enumerate() {
                        let comma = if index > 0 { "," } else { "" };
                        write!(out, "{comma}{key}=")?;
                        out.write_all(value.as_deref().unwrap_or_default())?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct RecordView<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(flatten)]
    content: Map<String, Value>,
    headers: Vec<Map<String, Value>>,
}

/// Writes one line. Bytes that are not UTF-8 go under `key_base64` and `value_base64`.
pub(super) fn write_json(record: &ConsumerRecord, out: &mut impl Write) -> io::Result<()> {
    let mut content = Map::new();
    insert(&mut content, "key", record.key.as_deref());
    insert(&mut content, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(key, value)| {
        let mut header = Map::new();
        header.insert("key".to_owned(), key.as_str().into());
        insert(&mut header, "value", value.as_deref());
        header
    });
    let view = RecordView {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        content,
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &view).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

fn insert(map: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        map.insert(name.to_owned(), Value::Null);
        return;
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => map.insert(name.to_owned(), text.into()),
        Err(_) => map.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ConsumerRecord {
        let mut record = ConsumerRecord::new("orders", 3, 7, Some("k".into()), Some(vec![0xff, b'v'].into()));
        record.timestamp = 5;
        record.headers = vec![("a".into(), Some("1".into())), ("b".into(), None)];
        record
    }

    #[test]
    fn every_letter_prints_its_part() {
        let format: Format = "%t %p %o %T\\t%k=%v [%h] 100%%\\n".parse().expect("valid");
        let mut out = Vec::new();
        format.write(&record(), &mut out).expect("written");
        assert_eq!(out, b"orders 3 7 5\tk=\xffv [a=1,b=] 100%\n");
    }

    #[test]
    fn unknown_letters_are_refused() {
        for text in ["%x", "%", "\\", "\\q"] {
            assert!(text.parse::<Format>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let mut out = Vec::new();
        write_json(&record(), &mut out).expect("written");
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["key"], "k");
        assert_eq!(value["value_base64"], "/3Y=");
        assert_eq!(value["headers"][1]["value"], Value::Null);
    }
}
