//! A node's disk as the node meets it: a file of ours that FUSE serves, a loop device on it, ext4 on that.
//!
//! The loop device turns ext4's barriers and every fdatasync into an fsync of the file, which is a flush of the `Disk`.
//! The file is opened past the page cache, so that nothing but the `Disk` remembers anything across a power cut.

use crate::disk::{Disk, Spared};
use crate::seeded::Seeded;
use crate::shell;
use anyhow::{Context, Result, bail};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

const FILE: INodeNo = INodeNo(2);
const FILE_NAME: &str = "disk";
const FOR_EVER: Duration = Duration::from_secs(3600);
/// A slow disk shall not make a fast request wait for a thread.
const SERVER_THREADS: usize = 4;
const INODES: &str = "16384";
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// Serves one file, `disk`.
struct Server {
    disk: Arc<Disk>,
}

impl Server {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, size) = match inode {
            FILE => (FileType::RegularFile, self.disk.size),
            _ => (FileType::Directory, 0),
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == FILE_NAME {
            true => reply.entry(&FOR_EVER, &self.attributes(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk.read(offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.disk.write(offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    /// A closed file is not a synced one.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.disk.flush() {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        }
    }
}

/// A file system on a `Disk`.
pub struct MountedDisk {
    pub disk: Arc<Disk>,
    image: PathBuf,
    /// Where the node finds it.
    pub root: PathBuf,
    _served: BackgroundSession,
}

impl MountedDisk {
    /// `base` is a folder for mount points; `media` a file for what is durable, which has no name when this returns.
    pub fn create(base: &Path, node: usize, media: &Path, bytes: u64) -> Result<Self> {
        let file = fs::File::options().read(true).write(true).create_new(true).open(media);
        let file = file.with_context(|| format!("cannot create {}", media.display()))?;
        fs::remove_file(media)?;
        file.set_len(bytes)?;
        let disk = Arc::new(Disk::new(file, bytes));
        let (served, root) = (base.join(format!("disk{node}")), base.join(format!("node{node}")));
        fs::create_dir_all(&served)?;
        fs::create_dir_all(&root)?;
        let mut config = Config::default();
        config.n_threads = Some(SERVER_THREADS);
        config.clone_fd = true;
        let session = Session::new(Server { disk: disk.clone() }, &served, &config)
            .context("cannot serve a disk by FUSE")?;
        let session = session.spawn()?;
        let image = served.join(FILE_NAME);
        let name = image.to_string_lossy().into_owned();
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        shell::run("mkfs.ext4", &["-q", "-F", "-m", "0", "-N", INODES, "-E", lazy, &name])?;
        let mounted = Self { disk, image, root, _served: session };
        mounted.mount()?;
        Ok(mounted)
    }

    /// Mounts the file system, which is repaired first if that is what it needs: after a failed flush ext4 writes its
    /// superblock outside of its journal, and a power cut may spare one of its two sectors. A host's boot does the same.
    fn mount(&self) -> Result<()> {
        let (image, root) = (self.image.to_string_lossy(), self.root.to_string_lossy());
        let mount =
            || shell::run("mount", &["-t", "ext4", "-o", "loop,noatime", &image, &root]).map(drop);
        mount().or_else(|refusal| {
            // its status says what it found, and whether that helps the mount says
            let repaired = shell::run("e2fsck", &["-f", "-y", &image]);
            mount().with_context(|| format!("{refusal:#}; e2fsck: {repaired:?}"))
        })
    }

    /// After whoever used it is gone: the file system goes, whatever it still wanted to write.
    fn unmount(&self) -> Result<()> {
        let end = Instant::now() + UNMOUNT_PATIENCE;
        let root = self.root.to_string_lossy();
        while let Err(error) = shell::run("umount", &[&root]) {
            if Instant::now() > end {
                bail!("{error:#}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub fn cut_power(&self, spared: Spared, seeded: &mut Seeded) -> Result<usize> {
        self.disk.cut(spared, seeded).context("the disk's file")
    }

    /// After a cut, when nobody uses it any more.
    pub fn power_on(&self) -> Result<()> {
        self.unmount()?;
        self.disk.power_on();
        self.mount()
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }

    /// Takes all space but `left` bytes.
    pub fn fill(&self, left: u64) -> Result<()> {
        let free = rustix::fs::statvfs(&self.root)?;
        let free = free.f_bavail * free.f_frsize;
        let (length, filler) = (free.saturating_sub(left).max(1), self.filler());
        // The node writes meanwhile: that not all of it was there any more is just as full.
        let _ = shell::run("fallocate", &["-l", &length.to_string(), &filler.to_string_lossy()]);
        Ok(())
    }

    pub fn empty(&self) -> Result<()> {
        match fs::remove_file(self.filler()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
