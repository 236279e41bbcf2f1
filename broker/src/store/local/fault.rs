//! A simulated disk for tests: it keeps unsynced bytes and names apart and, when the power is cut, loses a random part
//! of them. It can also run full, fail to sync, hold syncs back, or (to test the tests) pretend to sync.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fs::{DataFile, FileSystem, Volume};
use crate::store::{Piece, Space};

type Node = u64;
const ROOT: Node = 0;

/// What this disk does wrong, for tests of the tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cheats {
    /// Syncing a file's bytes does nothing.
    pub skip_data_sync: bool,
    /// Syncing a folder's names does nothing.
    pub skip_folder_sync: bool,
}

/// A disk that survives `crash`. Clones share it; a store gets it by [`FaultFs::boot`].
#[derive(Clone)]
pub struct FaultFs(Arc<Disk>);

/// The disk as a running machine sees it, until the next crash.
struct Booted {
    disk: Arc<Disk>,
    generation: u64,
}

struct Disk {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Clone)]
struct State {
    nodes: HashMap<Node, Content>,
    next_node: Node,
    /// Changes of names that are not durable, in order.
    names: Vec<NameChange>,
    /// Raised by a crash: handles of earlier generations are dead.
    generation: u64,
    locked: bool,
    total: u64,
    /// No more than this is used: counted exactly only when it matters.
    used_at_most: u64,
    cheats: Cheats,
    /// Syncs that fail from now on.
    failing_syncs: usize,
    held: bool,
    waiting_syncs: usize,
    /// Operations until the power goes.
    fuse: Option<u64>,
}

#[derive(Clone)]
enum Content {
    File(FileContent),
    Folder { seen: BTreeMap<String, Node>, durable: BTreeMap<String, Node> },
}

#[derive(Clone, Default)]
struct FileContent {
    /// As the page cache shows it.
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

/// Removals and insertions that happen together.
#[derive(Clone)]
struct NameChange {
    remove: Vec<(Node, String)>,
    insert: Option<(Node, String, Node)>,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(position, data) => {
                let end = *position as usize + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*position as usize..end].copy_from_slice(data);
            }
            Change::Len(len) => bytes.resize(*len as usize, 0),
        }
    }

    /// What a power cut may leave of a write: a part up to a random byte.
    fn torn(&self, random: &mut StdRng) -> Change {
        match self {
            Change::Write(position, data) => {
                Change::Write(*position, data[..random.random_range(0..=data.len())].to_vec())
            }
            other => other.clone(),
        }
    }
}

impl FileContent {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Makes the first `count` changes durable.
    fn sync(&mut self, count: usize) {
        for change in self.pending.drain(..count.min(self.pending.len())) {
            change.apply(&mut self.durable);
        }
    }

    fn drop_cache(&mut self) {
        self.seen.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.seen);
        }
    }

    fn crash(&mut self, random: &mut StdRng) {
        // Some crashes lose everything, some nothing, most a part.
        let kept = [0.0, 0.3, 0.7, 1.0][random.random_range(0..4)];
        for change in std::mem::take(&mut self.pending) {
            if random.random_bool(kept) {
                change.apply(&mut self.durable);
            } else if random.random_bool(0.3) {
                change.torn(random).apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

impl NameChange {
    fn touches(&self, folder: Node) -> bool {
        self.remove.iter().any(|(of, _)| *of == folder) || self.insert.as_ref().is_some_and(|(of, ..)| *of == folder)
    }

    fn apply(self, nodes: &mut HashMap<Node, Content>) {
        for (folder, name) in self.remove {
            if let Some(Content::Folder { durable, .. }) = nodes.get_mut(&folder) {
                durable.remove(&name);
            }
        }
        if let Some((folder, name, node)) = self.insert
            && let Some(Content::Folder { durable, .. }) = nodes.get_mut(&folder)
        {
            durable.insert(name, node);
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Counts an operation against the fuse.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn seen(&mut self, folder: Node) -> io::Result<&mut BTreeMap<String, Node>> {
        match self.nodes.get_mut(&folder) {
            Some(Content::Folder { seen, .. }) => Ok(seen),
            _ => Err(not_found()),
        }
    }

    fn file(&mut self, node: Node) -> io::Result<&mut FileContent> {
        match self.nodes.get_mut(&node) {
            Some(Content::File(file)) => Ok(file),
            _ => Err(not_found()),
        }
    }

    fn find(&mut self, path: &Path) -> io::Result<Node> {
        let mut node = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_string_lossy();
                node = *self.seen(node)?.get(&*name).ok_or_else(not_found)?;
            }
        }
        Ok(node)
    }

    /// The folder that holds, or would hold, the path; and the last name.
    fn place(&mut self, path: &Path) -> io::Result<(Node, String)> {
        let name = path.file_name().ok_or_else(not_found)?.to_string_lossy().into_owned();
        Ok((self.find(path.parent().ok_or_else(not_found)?)?, name))
    }

    fn add(&mut self, folder: Node, name: String, content: Content) -> io::Result<Node> {
        let node = self.next_node;
        self.next_node += 1;
        self.nodes.insert(node, content);
        self.seen(folder)?.insert(name.clone(), node);
        self.names.push(NameChange { remove: vec![], insert: Some((folder, name, node)) });
        Ok(node)
    }

    fn used(&self) -> u64 {
        let named = self.nodes.values().flat_map(|content| match content {
            Content::Folder { seen, .. } => seen.values().copied().collect(),
            Content::File(_) => vec![],
        });
        let size = |node: Node| match self.nodes.get(&node) {
            Some(Content::File(file)) => file.seen.len() as u64,
            _ => 0,
        };
        named.map(size).sum()
    }

    fn sync_names(&mut self, folder: Option<Node>) {
        if self.cheats.skip_folder_sync {
            return;
        }
        let changes = std::mem::take(&mut self.names);
        for change in changes {
            match folder.is_none_or(|folder| change.touches(folder)) {
                true => change.apply(&mut self.nodes),
                false => self.names.push(change),
            }
        }
    }

    /// True when this sync is one that fails.
    fn fails(&mut self) -> bool {
        let fails = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        fails
    }

    /// Removes what no name leads to any more.
    fn sweep(&mut self) {
        let (mut reached, mut next) = (HashSet::from([ROOT]), vec![ROOT]);
        while let Some(node) = next.pop() {
            if let Some(Content::Folder { seen, .. }) = self.nodes.get(&node) {
                next.extend(seen.values());
                reached.extend(seen.values());
            }
        }
        self.nodes.retain(|node, _| reached.contains(node));
    }
}

impl FaultFs {
    /// An empty disk of `total` bytes.
    pub fn new(total: u64) -> Self {
        let root = Content::Folder { seen: BTreeMap::new(), durable: BTreeMap::new() };
        let state = State {
            nodes: HashMap::from([(ROOT, root)]),
            next_node: ROOT + 1,
            names: Vec::new(),
            generation: 0,
            locked: false,
            total,
            used_at_most: 0,
            cheats: Cheats::default(),
            failing_syncs: 0,
            held: false,
            waiting_syncs: 0,
            fuse: None,
        };
        Self(Arc::new(Disk { state: Mutex::new(state), released: Condvar::new() }))
    }

    /// A copy of the whole disk, unsynced changes included, to try another crash on.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Disk { state: Mutex::new(self.0.state.lock().clone()), released: Condvar::new() }))
    }

    pub fn cheat(&self, cheats: Cheats) {
        self.0.state.lock().cheats = cheats;
    }

    /// Changes the size; below what is used, every write fails for want of space.
    pub fn set_total(&self, total: u64) {
        self.0.state.lock().total = total;
    }

    /// The next `count` syncs of bytes fail, and what they should have made durable never will be, though it stays
    /// readable and later syncs succeed.
    pub fn fail_syncs(&self, count: usize) {
        self.0.state.lock().failing_syncs = count;
    }

    /// Syncs wait until released with `false`, or for the crash.
    pub fn hold_syncs(&self, held: bool) {
        self.0.state.lock().held = held;
        self.0.released.notify_all();
    }

    /// Syncs that are held back now.
    pub fn waiting_syncs(&self) -> usize {
        self.0.state.lock().waiting_syncs
    }

    /// Every operation after `operations` more changes fails, as if the machine were gone; `crash` restarts it.
    pub fn cut_power_after(&self, operations: u64) {
        self.0.state.lock().fuse = Some(operations);
    }

    /// Cuts the power: every handle dies, the lock is free, and of what was not synced a random part is lost.
    pub fn crash(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut guard = self.0.state.lock();
        let state = &mut *guard;
        state.generation += 1;
        (state.locked, state.held, state.fuse, state.failing_syncs) = (false, false, None, 0);
        let kept = [0.0, 0.5, 0.5, 1.0][random.random_range(0..4)];
        for change in std::mem::take(&mut state.names) {
            if random.random_bool(kept) {
                change.apply(&mut state.nodes);
            }
        }
        let mut nodes: Vec<_> = state.nodes.keys().copied().collect();
        nodes.sort_unstable();
        for node in nodes {
            match state.nodes.get_mut(&node) {
                Some(Content::File(file)) => file.crash(&mut random),
                Some(Content::Folder { seen, durable }) => seen.clone_from(durable),
                None => {}
            }
        }
        state.sweep();
        self.0.released.notify_all();
    }

    /// Kills the process: every handle dies and the lock is free, but the page cache stays.
    pub fn kill(&self) {
        let mut state = self.0.state.lock();
        state.generation += 1;
        (state.locked, state.held, state.fuse, state.failing_syncs) = (false, false, None, 0);
        self.0.released.notify_all();
    }

    /// Damages one byte of a file behind everybody's back.
    pub fn flip_byte(&self, path: &Path, position: usize) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let node = state.find(path)?;
        let file = state.file(node)?;
        for bytes in [&mut file.seen, &mut file.durable] {
            *bytes.get_mut(position).ok_or_else(not_found)? ^= 0x40;
        }
        Ok(())
    }

    /// The file system for a store; it works until the next crash.
    pub fn boot(&self) -> Arc<dyn FileSystem> {
        Arc::new(Booted { disk: self.0.clone(), generation: self.0.state.lock().generation })
    }
}

impl Booted {
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state.lock();
        check(&state, self.generation)?;
        Ok(state)
    }

    fn open_node(&self, node: Node) -> Arc<dyn DataFile> {
        Arc::new(FaultFile { disk: self.disk.clone(), node, generation: self.generation })
    }
}

impl FileSystem for Booted {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path.parent().is_some_and(|parent| !parent.as_os_str().is_empty()) {
            self.create_dir(path.parent().unwrap_or(path))?;
        }
        let mut state = self.lock()?;
        state.step()?;
        if state.find(path).is_err() {
            let (folder, name) = state.place(path)?;
            state.add(folder, name, Content::Folder { seen: BTreeMap::new(), durable: BTreeMap::new() })?;
        }
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.lock()?;
        let node = state.find(path)?;
        Ok(state.seen(node)?.keys().cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DataFile>> {
        let mut state = self.lock()?;
        state.step()?;
        let node = match state.find(path) {
            Ok(node) => {
                state.file(node)?.change(Change::Len(0));
                node
            }
            Err(_) => {
                let (folder, name) = state.place(path)?;
                state.add(folder, name, Content::File(FileContent::default()))?
            }
        };
        Ok(self.open_node(node))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DataFile>> {
        let mut state = self.lock()?;
        let node = state.find(path)?;
        state.file(node)?;
        Ok(self.open_node(node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock()?;
        state.step()?;
        let node = state.find(from)?;
        let (from, to) = (state.place(from)?, state.place(to)?);
        state.seen(from.0)?.remove(&from.1);
        state.seen(to.0)?.insert(to.1.clone(), node);
        state.names.push(NameChange { remove: vec![from], insert: Some((to.0, to.1, node)) });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock()?;
        state.step()?;
        state.find(path)?;
        let (folder, name) = state.place(path)?;
        state.seen(folder)?.remove(&name);
        state.names.push(NameChange { remove: vec![(folder, name)], insert: None });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let node = self.lock()?.find(path)?;
        if !self.lock()?.seen(node)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock()?;
        state.step()?;
        let node = state.find(path)?;
        state.sync_names(Some(node));
        Ok(())
    }

    fn volume(&self, _data: &Path) -> io::Result<Arc<dyn Volume>> {
        let mut state = self.lock()?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Arc::new(FaultVolume { disk: self.disk.clone(), generation: self.generation }))
    }
}

impl Disk {
    /// A sync of one file or of all: waits while syncs are held back, and makes durable what was written
    /// before it began.
    fn sync(&self, generation: u64, only: Option<Node>) -> io::Result<()> {
        let mut guard = self.state.lock();
        check(&guard, generation)?;
        let all = || guard.nodes.keys().copied().collect();
        let chosen = only.map_or_else(all, |node| vec![node]);
        let pending = |node: Node| match guard.nodes.get(&node) {
            Some(Content::File(file)) => Some((node, file.pending.len())),
            _ => None,
        };
        let begun: Vec<_> = chosen.into_iter().filter_map(pending).collect();
        guard.waiting_syncs += 1;
        while guard.held && guard.generation == generation {
            self.released.wait(&mut guard);
        }
        guard.waiting_syncs -= 1;
        check(&guard, generation)?;
        guard.step()?;
        let (fails, skips) = (guard.fails(), guard.cheats.skip_data_sync);
        for (node, count) in begun {
            match guard.file(node) {
                Ok(file) if fails => file.pending.clear(),
                Ok(file) if !skips => file.sync(count),
                _ => {}
            }
        }
        match fails {
            true => Err(io::Error::other("the disk failed to sync")),
            false => Ok(()),
        }
    }
}

fn check(state: &State, generation: u64) -> io::Result<()> {
    match state.generation == generation {
        true => Ok(()),
        false => Err(io::Error::other("the power was cut")),
    }
}

struct FaultVolume {
    disk: Arc<Disk>,
    generation: u64,
}

impl Volume for FaultVolume {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync(self.generation, None)?;
        self.disk.state.lock().sync_names(None);
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.disk.state.lock();
        Ok(Space { free: state.total.saturating_sub(state.used()), total: state.total })
    }

    fn unlock(&self) {
        let mut state = self.disk.state.lock();
        if state.generation == self.generation {
            state.locked = false;
        }
    }
}

impl Drop for FaultVolume {
    fn drop(&mut self) {
        self.unlock();
    }
}

struct FaultFile {
    disk: Arc<Disk>,
    node: Node,
    generation: u64,
}

impl FaultFile {
    fn with<T>(&self, work: impl FnOnce(&mut State, Node) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        check(&state, self.generation)?;
        work(&mut state, self.node)
    }
}

impl DataFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state, node| Ok(state.file(node)?.seen.len() as u64))
    }

    fn write_at(&self, position: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        self.with(|state, node| {
            state.step()?;
            let mut bytes = parts.concat();
            let grows = (position + bytes.len() as u64).saturating_sub(state.file(node)?.seen.len() as u64);
            if state.used_at_most + grows > state.total {
                state.used_at_most = state.used();
            }
            state.used_at_most += grows;
            let free = (state.total + grows).saturating_sub(state.used_at_most);
            let short = grows.saturating_sub(free).min(bytes.len() as u64);
            bytes.truncate(bytes.len() - short as usize);
            state.file(node)?.change(Change::Write(position, bytes));
            match short {
                0 => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            }
        })
    }

    fn read_at(&self, position: u64, buffer: &mut [u8], _cached: bool) -> io::Result<usize> {
        self.with(|state, node| {
            let bytes = state.file(node)?.seen.get(position as usize..).unwrap_or(&[]);
            let len = buffer.len().min(bytes.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            Ok(len)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, node| {
            state.step()?;
            state.file(node)?.change(Change::Len(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(self.generation, Some(self.node))
    }

    fn drop_cache(&self, _position: u64) -> io::Result<()> {
        self.with(|state, node| {
            state.file(node)?.drop_cache();
            Ok(())
        })
    }

    fn piece(&self, position: u64, len: usize) -> io::Result<Piece> {
        let mut bytes = vec![0; len];
        match self.read_at(position, &mut bytes, false)? {
            read if read == len => Ok(Piece::Memory(Bytes::from(bytes))),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
