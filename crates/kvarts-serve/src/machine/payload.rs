//! The commands of one entry as they stand in the log: `stamp_us` (u64, little endian), then each command with its length
//! (a varint) in front. An empty payload is the no-op that begins a term.
use super::{Error, Result, check_command};
use bytes::{Buf, Bytes};
use kvarts_wire::v1;
use prost::Message;
use prost::encoding::encode_varint;

const STAMP_BYTES: usize = 8;

/// What an entry holds.
#[derive(Debug, Default)]
pub(super) struct Payload {
    /// When the leader took it, in microseconds; 0 in a no-op.
    pub(super) stamp_us: u64,
    pub(super) commands: Vec<v1::Command>,
}

/// Puts encoded commands (`Command::encode_to_vec`) into the payload of one entry.
pub fn encode_payload<'a>(stamp_us: u64, commands: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = stamp_us.to_le_bytes().to_vec();
    for command in commands {
        encode_varint(command.len() as u64, &mut payload);
        payload.extend_from_slice(command);
    }
    payload
}

/// The bytes of a result, as a client gets them.
pub fn encode_result(result: &v1::Result) -> Vec<u8> {
    result.encode_to_vec()
}

/// Reads the payload of entry `index`; values borrow from it. Errors: `Unreadable`.
pub(super) fn decode_payload(index: u64, payload: &Bytes) -> Result<Payload> {
    if payload.is_empty() {
        return Ok(Payload::default());
    }
    let unreadable = |what: String| Error::Unreadable { index, what };
    if payload.len() < STAMP_BYTES {
        return Err(unreadable(format!("{} bytes are no stamp", payload.len())));
    }
    let mut rest = payload.clone();
    let mut read = Payload { stamp_us: rest.get_u64_le(), commands: Vec::new() };
    while rest.has_remaining() {
        let command = v1::Command::decode_length_delimited(&mut rest).map_err(|error| unreadable(error.to_string()))?;
        check_command(&command).map_err(|error| unreadable(error.to_string()))?;
        read.commands.push(command);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_in_their_order() {
        let commands: Vec<v1::Command> = (1..4)
            .map(|keep| v1::Command {
                special: Some(v1::command::Special::DropSessions(v1::DropSessions { keep })),
                ..Default::default()
            })
            .collect();
        let encoded: Vec<Vec<u8>> = commands.iter().map(Message::encode_to_vec).collect();
        let payload = Bytes::from(encode_payload(77, encoded.iter().map(Vec::as_slice)));
        let read = decode_payload(1, &payload).unwrap();
        assert_eq!((read.stamp_us, read.commands), (77, commands));
    }

    #[test]
    fn no_bytes_are_no_commands_and_cut_bytes_are_an_error() {
        assert!(decode_payload(1, &Bytes::new()).unwrap().commands.is_empty());
        let put = v1::Put { key: "k".into(), value: "v".into(), ..Default::default() };
        let operation = v1::Operation { kind: Some(v1::operation::Kind::Put(put)) };
        let command = v1::Command { operations: vec![operation], ..Default::default() }.encode_to_vec();
        let payload = encode_payload(1, [command.as_slice()]);
        for len in (1..payload.len()).filter(|&len| len != STAMP_BYTES) {
            let cut = Bytes::copy_from_slice(&payload[..len]);
            assert!(matches!(decode_payload(5, &cut), Err(Error::Unreadable { index: 5, .. })), "cut to {len} bytes");
        }
    }
}
