//! What files promise, in both worlds.

use bytes::Bytes;
use runtime::block_on;
use runtime::fs::{self, AlignedBuf, DirectFile, File, FileSystem, OpenOptions, WriteBackend};

mod support;
use support::Dir;

#[test]
fn what_is_written_is_read_back_short_at_the_end() {
    block_on(async {
        let dir = Dir::new().await;
        let file = File::open(dir.join("a.log"), &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        file.write_all_at(0, Bytes::from_static(b"hello ")).await.unwrap();
        let parts = vec![Bytes::from_static(b"wide"), Bytes::new(), Bytes::from_static(b" world")];
        file.write_vectored_at(6, parts).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 16);
        assert_eq!(file.read_at(0, 100).await.unwrap(), "hello wide world");
        assert_eq!(file.read_at(6, 4).await.unwrap(), "wide");
        assert_eq!(file.read_at(16, 4).await.unwrap(), "");
        assert_eq!(file.read_at(99, 4).await.unwrap(), "");
        file.set_len(5).await.unwrap();
        file.sync_data().await.unwrap();
        assert_eq!(fs::read(dir.join("a.log")).await.unwrap(), "hello");
        file.close().await.unwrap();
    });
}

#[test]
fn many_buffers_and_large_files_are_written_whole() {
    block_on(async {
        let dir = Dir::new().await;
        let file = File::open(dir.join("big"), &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        let piece: Vec<u8> = (0..=255).collect();
        let bufs = vec![Bytes::from(piece.clone()); 5000];
        file.write_vectored_at(0, bufs).await.unwrap();
        let all = file.read_at(0, 256 * 5000 + 1).await.unwrap();
        assert_eq!(all.len(), 256 * 5000);
        assert!(all.chunks(256).all(|chunk| chunk == piece));
    });
}

#[test]
fn open_options_mean_what_they_say() {
    block_on(async {
        let dir = Dir::new().await;
        let missing = File::open(dir.join("none"), &OpenOptions::READ).await.err().unwrap();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        let new = OpenOptions { create_new: true, ..OpenOptions::READ_WRITE_CREATE };
        let file = File::open(dir.join("new"), &new).await.unwrap();
        file.write_all_at(0, Bytes::from_static(b"x")).await.unwrap();
        let again = File::open(dir.join("new"), &new).await.err().unwrap();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        let replaced = File::open(dir.join("new"), &OpenOptions::REPLACE).await.unwrap();
        assert_eq!(replaced.len().await.unwrap(), 0);
        let nowhere = File::open(dir.join("no/dir"), &OpenOptions::REPLACE).await.err().unwrap();
        assert_eq!(nowhere.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn names_can_be_made_listed_renamed_and_removed() {
    block_on(async {
        let dir = Dir::new().await;
        fs::create_dir_all(dir.join("t-0/deep")).await.unwrap();
        fs::create_dir_all(dir.join("t-0/deep")).await.unwrap();
        fs::write_atomic(dir.join("t-0/b"), b"one").await.unwrap();
        fs::write_atomic(dir.join("t-0/b"), b"two!").await.unwrap();
        fs::rename(dir.join("t-0/b"), dir.join("t-0/a")).await.unwrap();
        let listed = fs::read_dir(dir.join("t-0")).await.unwrap();
        let names: Vec<_> = listed.iter().map(|e| (e.name.as_str(), e.is_dir)).collect();
        assert_eq!(names, [("a", false), ("deep", true)]);
        assert_eq!(listed[0].len, 4);
        assert!(fs::exists(dir.join("t-0/a")).await.unwrap());
        assert!(!fs::exists(dir.join("t-0/b")).await.unwrap());
        fs::sync_dir(dir.join("t-0")).await.unwrap();
        fs::remove_file(dir.join("t-0/a")).await.unwrap();
        assert!(fs::remove_file(dir.join("t-0/a")).await.is_err());
        fs::remove_dir_all(dir.join("t-0")).await.unwrap();
        assert!(fs::read_dir(dir.join("t-0")).await.is_err());
        let space = fs::disk_space(dir.path()).await.unwrap();
        assert!(space.available > 0 && space.total >= space.available);
    });
}

#[test]
fn a_file_system_that_can_be_synced_as_a_whole_is_and_what_is_no_directory_has_none() {
    block_on(async {
        let dir = Dir::new().await;
        if let Some(disk) = FileSystem::open(dir.path()).await.unwrap() {
            fs::write_beside(dir.join("a"), b"beside").await.unwrap();
            disk.sync().await.unwrap();
            disk.sync().await.unwrap();
        }
        assert!(FileSystem::open(dir.join("none")).await.is_err());
    });
}

#[test]
fn what_is_written_beside_a_file_takes_its_place_by_a_rename() {
    block_on(async {
        let dir = Dir::new().await;
        let place = dir.join("a");
        fs::write_atomic(&place, b"old").await.unwrap();
        let beside = fs::write_beside(&place, b"new").await.unwrap();
        assert_eq!(beside, fs::beside(&place));
        assert_eq!(fs::read(&place).await.unwrap(), "old");
        fs::rename(&beside, &place).await.unwrap();
        assert_eq!(fs::read(&place).await.unwrap(), "new");
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    block_on(async {
        let dir = Dir::new().await;
        let path = dir.join("gone");
        let file = File::open(&path, &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        file.write_all_at(0, Bytes::from_static(b"still here")).await.unwrap();
        fs::remove_file(&path).await.unwrap();
        assert_eq!(file.read_at(0, 10).await.unwrap(), "still here");
    });
}

fn aligned(byte: u8, len: usize) -> Bytes {
    let mut buf = AlignedBuf::zeroed(len);
    buf.fill(byte);
    buf.freeze()
}

async fn durable_round_trip(backend: WriteBackend) {
    let dir = Dir::new().await;
    let path = dir.join("wal");
    let file = DirectFile::open(&path, 1 << 20, backend).await.unwrap();
    assert_eq!(file.len(), 1 << 20);
    let empty = file.read_at(0, 1 << 20).await.unwrap();
    assert!(empty.iter().all(|&b| b == 0), "the file is zeroed");
    file.write_durable(8192, vec![aligned(1, 4096), aligned(2, 8192)]).await.unwrap();
    let read = file.read_at(8192, 12288).await.unwrap();
    assert!(read[..4096].iter().all(|&b| b == 1) && read[4096..].iter().all(|&b| b == 2));
    drop(file);
    let file = DirectFile::open(&path, 1 << 20, backend).await.unwrap();
    assert_eq!(&file.read_at(8192, 4096).await.unwrap()[..], [1; 4096], "opening keeps content");
    assert_eq!(file.read_at((1 << 20) - 4096, 8192).await.unwrap().len(), 4096);
    let bad = [
        file.write_durable(100, vec![aligned(1, 4096)]).await,
        file.write_durable(0, vec![Bytes::from_static(b"short")]).await,
        file.write_durable(1 << 20, vec![aligned(1, 4096)]).await,
    ];
    for result in bad {
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn direct_writes_through_io_uring_are_read_back() {
    block_on(durable_round_trip(WriteBackend::IoUring));
}

#[test]
fn direct_writes_through_the_commit_thread_are_read_back() {
    block_on(durable_round_trip(WriteBackend::CommitThread));
}

#[test]
fn a_dropped_write_future_does_no_harm() {
    block_on(async {
        let dir = Dir::new().await;
        let path = dir.join("wal");
        for backend in [WriteBackend::IoUring, WriteBackend::CommitThread] {
            let file = DirectFile::open(&path, 1 << 20, backend).await.unwrap();
            for i in 0..50u8 {
                let mut write = Box::pin(file.write_durable(0, vec![aligned(i, 65536)]));
                let _ = futures_lite::future::poll_once(&mut write).await;
                drop(write);
            }
            file.write_durable(65536, vec![aligned(9, 4096)]).await.unwrap();
        }
    });
}

#[cfg(not(simulation))]
#[test]
fn thousands_of_files_can_be_opened_and_closed_without_leaking_descriptors() {
    block_on(async {
        let dir = Dir::new().await;
        let path = dir.join("f");
        fs::write_atomic(&path, b"x").await.unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        // Other tests of this process run beside this one; a leak would show as thousands.
        let before = open();
        for _ in 0..3000 {
            let file = File::open(&path, &OpenOptions::READ).await.unwrap();
            assert_eq!(file.read_at(0, 1).await.unwrap(), "x");
        }
        assert!(open() < before + 1000);
    });
}

#[test]
fn large_writes_in_odd_pieces_at_odd_places_read_back_and_end_where_they_should() {
    block_on(async {
        let dir = Dir::new().await;
        let path = dir.join("log");
        let options = OpenOptions::READ_WRITE_CREATE;
        let file = File::open(&path, &options).await.unwrap();
        let mut expected: Vec<u8> = Vec::new();
        let writes: [&[usize]; 6] = [
            &[100],
            &[1, 300_000, 4096, 77],
            &[262_144],
            &[5_000_000, 3, 4_194_304],
            &[20_000_001, 9],
            &[50, 50],
        ];
        for (number, sizes) in writes.into_iter().enumerate() {
            let fill = |(at, len): (usize, &usize)| {
                let bytes = (0..*len).map(|i| (i / 7 + at * 31 + number) as u8);
                Bytes::from(bytes.collect::<Vec<u8>>())
            };
            let pieces: Vec<_> = sizes.iter().enumerate().map(fill).collect();
            let pos = expected.len() as u64;
            pieces.iter().for_each(|piece| expected.extend_from_slice(piece));
            file.write_vectored_at(pos, pieces).await.unwrap();
            assert_eq!(file.len().await.unwrap(), expected.len() as u64);
        }
        // Once more over what is there, from the middle of a block, after the name has changed.
        fs::rename(&path, dir.join("moved")).await.unwrap();
        let again = vec![9u8; 700_003];
        expected[1234..1234 + again.len()].copy_from_slice(&again);
        file.write_vectored_at(1234, vec![Bytes::from(again)]).await.unwrap();
        file.sync_data().await.unwrap();
        let read = file.read_at(0, expected.len() + 1).await.unwrap();
        assert!(read == expected, "what was written reads back");
    });
}
