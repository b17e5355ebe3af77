//! Wakes an event loop that watches a descriptor: an eventfd on Linux, a pair of sockets elsewhere.
#[cfg(target_os = "linux")]
pub use linux::Signal;
#[cfg(not(target_os = "linux"))]
pub use other::Signal;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::fd::{AsRawFd, OwnedFd};
    use std::io;

    /// A descriptor that is readable once raised, until cleared.
    pub struct Signal(OwnedFd);

    impl Signal {
        pub fn new() -> io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
        }

        pub fn descriptor(&self) -> i32 {
            self.0.as_raw_fd()
        }

        /// A full counter is raised already.
        pub fn raise(&self) {
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }

        pub fn clear(&self) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// A descriptor that is readable once raised, until cleared.
    pub struct Signal {
        reader: UnixStream,
        writer: UnixStream,
    }

    impl Signal {
        pub fn new() -> io::Result<Self> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok(Self { reader, writer })
        }

        pub fn descriptor(&self) -> i32 {
            self.reader.as_raw_fd()
        }

        /// A full buffer is raised already.
        pub fn raise(&self) {
            let _ = (&self.writer).write(&[1]);
        }

        pub fn clear(&self) {
            let mut bytes = [0; 64];
            while matches!((&self.reader).read(&mut bytes), Ok(read) if read == bytes.len()) {}
        }
    }
}
