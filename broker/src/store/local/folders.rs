//! Folders: of the whole store at its start, and of partitions when they are made, opened, moved or deleted.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::fs::{FileSystem, Volume};
use super::partition::{LocalPartition, refused_write};
use super::recovery::{Trust, first_append_ms, recover};
use super::segment::{LOG, file_path};
use super::state::{State, read_checksummed, write_checksummed};
use super::upkeep::STATE;
use super::{CLEAN_SHUTDOWN, LEADER_EPOCH, NEW, PARTITIONS, Shared, Slot, is_passing, refuse, unknown};
use crate::store::{Loaded, Opened, PartitionOptions, StoreError};

fn write_epoch(fs: &dyn FileSystem, data: &Path, epoch: i32) -> io::Result<()> {
    write_checksummed(fs, &data.join(LEADER_EPOCH), &epoch.to_be_bytes())
}

/// Brings the data folder from whatever the last stop left to the state of a running store. Returns whether that stop
/// was clean, and the leader epoch of this start.
pub(super) fn prepare(fs: &dyn FileSystem, volume: &dyn Volume, data: &Path) -> Result<(bool, i32), StoreError> {
    let failed = |error: io::Error| unknown(format_args!("the data folder {}: {error}", data.display()));
    let names = fs.read_dir(data).map_err(failed)?;
    let has = |name: &str| names.iter().any(|there| there == name);
    let clean = has(CLEAN_SHUTDOWN);
    let file = data.join(LEADER_EPOCH);
    let advice = "restore it, or write a file with a higher number, before starting again";
    let epoch = match read_checksummed(fs, &file) {
        Ok(Some(bytes)) => <[u8; 4]>::try_from(&bytes[..]).map(i32::from_be_bytes).ok(),
        // First made together with the folder of partitions, so without that one this is the first start.
        Ok(None) => (!has(PARTITIONS)).then_some(0),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        Err(error) => return Err(failed(error)),
    };
    let damaged = || StoreError::Corrupt(format!("{} is missing or damaged; {advice}", file.display()).into());
    let epoch = epoch.and_then(|epoch| epoch.checked_add(1)).ok_or_else(damaged)?;
    let change = || -> io::Result<()> {
        if clean {
            fs.remove_file(&data.join(CLEAN_SHUTDOWN))?;
        } else {
            // A killed process leaves bytes and names that look durable; one call makes them so.
            volume.sync()?;
        }
        write_epoch(fs, data, epoch)?;
        fs.sync_dir(data)?;
        if !has(PARTITIONS) {
            fs.create_dir(&data.join(PARTITIONS))?;
            fs.sync_dir(data)?;
            if let Some(parent) = data.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs.sync_dir(parent)?;
            }
        }
        for name in fs.read_dir(&data.join(PARTITIONS))? {
            if is_passing(&name) {
                remove_folder(fs, &data.join(PARTITIONS).join(name))?;
            }
        }
        Ok(())
    };
    change().map_err(failed)?;
    Ok((clean, epoch))
}

pub(super) fn remove_folder(fs: &dyn FileSystem, folder: &Path) -> io::Result<()> {
    for name in fs.read_dir(folder)? {
        fs.remove_file(&folder.join(name))?;
    }
    fs.remove_dir(folder)
}

/// Makes a partition's folder under another name and moves it into place whole, so that an interrupted creation leaves
/// nothing that looks like a partition.
pub(super) fn create_blocking(fs: &dyn FileSystem, folder: &Path) -> Result<(), StoreError> {
    if exists(fs, folder)? {
        return Err(refuse(format_args!("{} exists already", folder.display())));
    }
    let parent = folder.parent().expect("a partition's folder is inside that of all partitions");
    let beside = folder.with_added_extension(&NEW[1..]);
    let make = || -> io::Result<()> {
        if fs.read_dir(&beside).is_ok() {
            remove_folder(fs, &beside)?;
        }
        fs.create_dir(&beside)?;
        fs.create(&file_path(&beside, 0, LOG))?;
        write_checksummed(fs, &beside.join(STATE), &State::default().encode())?;
        fs.sync_dir(&beside)?;
        fs.rename(&beside, folder)
    };
    make().map_err(|error| refused_write("making the partition", folder, &error))?;
    fs.sync_dir(parent).map_err(|error| unknown(format_args!("making {}: {error}", folder.display())))
}

fn exists(fs: &dyn FileSystem, folder: &Path) -> Result<bool, StoreError> {
    match fs.read_dir(folder) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unknown(format_args!("{}: {error}", folder.display()))),
    }
}

impl Shared {
    /// An epoch above that of the last opening of a partition by this process; durable before it is used.
    fn epoch_above(&self, last: i32) -> Result<i32, StoreError> {
        let mut epoch = self.leader_epoch.lock();
        if last >= *epoch {
            let raise = || -> io::Result<i32> {
                let next = epoch.checked_add(1).ok_or_else(|| io::Error::other("the leader epochs are used up"))?;
                write_epoch(&*self.fs, &self.data, next)?;
                self.fs.sync_dir(&self.data)?;
                Ok(next)
            };
            *epoch = raise().map_err(|error| unknown(format_args!("raising the leader epoch: {error}")))?;
        }
        Ok(*epoch)
    }
}

/// Opens a partition and fences the handle that has it open.
pub(super) fn open_blocking(
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    folder: PathBuf,
    options: PartitionOptions,
) -> Result<Opened, StoreError> {
    let _structure = slot.structure.lock();
    if !exists(&*shared.fs, &folder)? {
        return Err(StoreError::NotFound);
    }
    let (trust, last) = {
        let mut opened = slot.opened.lock();
        let trust = match opened.handle.take() {
            Some(handle) => fence(&handle),
            None if opened.leader_epoch > 0 => Trust::Nothing,
            None if shared.started_clean => Trust::Clean,
            None => Trust::Synced,
        };
        (trust, opened.leader_epoch)
    };
    let leader_epoch = shared.epoch_above(last)?;
    slot.opened.lock().leader_epoch = leader_epoch;
    let (found, state) = recover(&*shared.fs, &folder, trust)?;
    let loaded = Loaded {
        log_start: found.log_start,
        end: found.end,
        leader_epoch,
        state: state.entries,
        state_end: state.state_end,
    };
    let first_append = first_append_ms(&found.active, shared.clock.now_ms());
    let handle = LocalPartition::new(shared, slot.clone(), folder, options, found, first_append);
    slot.opened.lock().handle = Some(handle.clone());
    Ok((handle, loaded))
}

/// Ends a handle; tells how far its files can be believed.
fn fence(handle: &LocalPartition) -> Trust {
    let trust = match handle.check_alive().is_ok() || handle.is_closed() {
        true => Trust::Unsynced,
        false => Trust::Nothing,
    };
    handle.fail("the partition was opened again");
    trust
}

/// Takes a partition's folder away from its place; `parents` are synced in this order.
pub(super) fn move_away(
    fs: &dyn FileSystem,
    slot: &Slot,
    folder: &Path,
    to: &Path,
    parents: [&Path; 2],
) -> Result<(), StoreError> {
    let _structure = slot.structure.lock();
    if !exists(fs, folder)? {
        return Err(StoreError::NotFound);
    }
    if let Some(handle) = slot.opened.lock().handle.take() {
        handle.fail("the partition was taken away");
    }
    let change = || -> io::Result<()> {
        fs.rename(folder, to)?;
        parents.iter().try_for_each(|parent| fs.sync_dir(parent))
    };
    change().map_err(|error| unknown(format_args!("moving {} to {}: {error}", folder.display(), to.display())))
}
