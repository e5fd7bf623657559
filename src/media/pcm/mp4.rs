//! MP4: which track is audio, how it is edited, and whether its tables can be believed.
//!
//! symphonia-format-isomp4 0.6 reads the samples of every track, video too, looks a sample's time
//! up from the start of its table, and knows no edit lists. So it is shown one audio track and
//! nothing else, tables of a bounded length, and the edit is applied here.

use std::ops::Range;

use super::super::unsupported;
use super::super::warnings::Warnings;
use super::input::Input;
use crate::error::{Error, Result};

/// Fragments of a day, one a second; the demuxer keeps the tables of each.
const MAX_ATOMS: usize = 1 << 18;
const MAX_FRAGMENTS: usize = 1 << 17;
/// Steps of all look-ups in tables, each from a table's start: some seconds, and more than any
/// fragment of up to an hour needs.
const MAX_LOOKUP_STEPS: u64 = 1 << 35;
/// A day of AAC has 15 MB of tables.
const MAX_MOOV_BYTES: u64 = 64 << 20;

/// The audio track.
#[derive(Debug, Default)]
pub(super) struct Mp4 {
    /// For people: `AAC`.
    pub(super) codec: &'static str,
    /// Where in the track's own time the audio begins, in `timescale`.
    pub(super) media_time: u64,
    /// How long it lasts, in `movie_timescale`; 0 if that is not said.
    pub(super) duration: u64,
    pub(super) timescale: u32,
    pub(super) movie_timescale: u32,
    /// Bytes of media in the file, if they are this track's alone.
    pub(super) media_bytes: Option<u64>,
}

impl Mp4 {
    /// Samples at `rate_hz` that the edit leaves, if it says so.
    pub(super) fn length(&self, rate_hz: u32) -> Option<u64> {
        scaled(self.duration, self.movie_timescale, rate_hz).filter(|&samples| samples > 0)
    }

    /// Samples at `rate_hz` that lie before the audio.
    pub(super) fn delay(&self, rate_hz: u32) -> u64 {
        scaled(self.media_time, self.timescale, rate_hz).unwrap_or(0)
    }
}

fn scaled(ticks: u64, timescale: u32, rate_hz: u32) -> Option<u64> {
    let samples = (u128::from(ticks) * u128::from(rate_hz)).checked_div(u128::from(timescale))?;
    u64::try_from(samples).ok()
}

#[derive(Debug, Clone)]
struct Atom {
    kind: [u8; 4],
    /// Offset of the whole atom.
    offset: u64,
    body: Range<u64>,
    /// Whether it ends where it says.
    whole: bool,
}

#[derive(Debug, Default)]
struct Trak {
    id: u32,
    handler: [u8; 4],
    coding: [u8; 4],
    mp4: Mp4,
}

/// Finds the first audio track and has the input show it alone.
pub(super) fn prepare(input: &mut Input, warnings: &mut Warnings) -> Result<Mp4> {
    let mut moov = None;
    let (mut fragments, mut steps) = (0, 0_u64);
    let mut media_bytes = 0;
    let mut end = 0;
    for atom in atoms(input, 0..input.len())? {
        end = atom.body.end;
        if !atom.whole {
            note_cut(warnings, end);
            // What is there of it is read.
            if let Ok(size) = u32::try_from(atom.body.end - atom.offset)
                && atom.body.start - atom.offset == 8
            {
                input.patch(atom.offset, size.to_be_bytes());
            }
        }
        match &atom.kind {
            b"mdat" => media_bytes += atom.body.end - atom.body.start,
            b"moov" if moov.is_none() => moov = Some(atom),
            b"moof" => {
                fragments += 1;
                steps = steps.saturating_add(lookup_steps(input, &atom)?);
                if fragments > MAX_FRAGMENTS || steps > MAX_LOOKUP_STEPS {
                    return Err(damaged());
                }
            }
            _ => {}
        }
    }
    if end < input.len() {
        note_cut(warnings, end);
    }
    let Some(moov) = moov else {
        return Err(unsupported(if fragments > 0 {
            "this is a later piece of an MP4 recording, without the header that only the first \
             piece has: concatenate the pieces from the first one"
        } else {
            "this is MP4 without its index (moov), which is written last: the file is cut short, \
             and nothing of it can be read"
        }));
    };
    if !moov.whole || moov.body.end - moov.body.start > MAX_MOOV_BYTES {
        return Err(damaged());
    }
    let children = atoms(input, moov.body)?;
    let mut traks = Vec::new();
    let mut movie_timescale = 0;
    for atom in &children {
        match &atom.kind {
            b"mvhd" => movie_timescale = timescale(input, atom)?,
            b"trak" => traks.push((atom.offset, read_trak(input, atom)?)),
            // Titles and pictures.
            b"udta" | b"meta" => input.patch(atom.offset + 4, *b"free"),
            _ => {}
        }
    }
    let only_track = traks.len() == 1;
    let chosen = traks.iter().position(|(_, trak)| trak.handler == *b"soun");
    let Some(chosen) = chosen else {
        return Err(no_audio(&traks));
    };
    let id = traks[chosen].1.id;
    for (index, (offset, _)) in traks.iter().enumerate() {
        if index != chosen {
            input.patch(offset + 4, *b"free");
        }
    }
    // As many extensions as tracks, or the demuxer refuses the file.
    for mvex in children.iter().filter(|atom| atom.kind == *b"mvex") {
        for trex in atoms(input, mvex.body.clone())? {
            if trex.kind == *b"trex" && number(input, trex.body.start + 4)? != id {
                input.patch(trex.offset + 4, *b"free");
            }
        }
    }
    input.allow_seeking();
    let trak = traks.swap_remove(chosen).1;
    Ok(Mp4 {
        codec: codec_name(trak.coding)?,
        movie_timescale,
        media_bytes: only_track.then_some(media_bytes),
        ..trak.mp4
    })
}

fn note_cut(warnings: &mut Warnings, end: u64) {
    warnings.note("cut short", || {
        format!("the MP4 file is cut short or damaged at byte {end}: what follows there is missing")
    });
}

/// Atoms side by side, as far as they make sense.
fn atoms(input: &mut Input, range: Range<u64>) -> Result<Vec<Atom>> {
    let mut atoms = Vec::new();
    let mut at = range.start;
    while at + 8 <= range.end && atoms.len() < MAX_ATOMS {
        let header = input.peek(at, 16)?;
        let (Some(size), Some(kind)) = (
            header.first_chunk().map(|size| u32::from_be_bytes(*size)),
            header.get(4..).and_then(|kind| kind.first_chunk()),
        ) else {
            break;
        };
        let long = header
            .get(8..)
            .and_then(|size| size.first_chunk())
            .map(|size| u64::from_be_bytes(*size));
        let (header_bytes, size) = match (size, long) {
            (0, _) => (8, range.end - at),
            (1, Some(size)) => (16, size),
            (size, _) => (8, u64::from(size)),
        };
        if size < header_bytes {
            break;
        }
        let end = at.saturating_add(size);
        atoms.push(Atom {
            kind: *kind,
            offset: at,
            body: at + header_bytes..end.min(range.end),
            whole: end <= range.end,
        });
        at = end;
    }
    Ok(atoms)
}

fn read_trak(input: &mut Input, trak: &Atom) -> Result<Trak> {
    let mut found = Trak::default();
    for atom in atoms(input, trak.body.clone())? {
        let at = atom.body.start;
        match &atom.kind {
            b"tkhd" => {
                let version = input.peek(at, 1)?;
                found.id = number(input, at + if version == [1] { 20 } else { 12 })?;
            }
            b"edts" => {
                for elst in atoms(input, atom.body.clone())? {
                    if elst.kind == *b"elst" {
                        read_edits(input, &elst, &mut found.mp4)?;
                    }
                }
            }
            b"mdia" => read_media(input, &atom, &mut found)?,
            _ => {}
        }
    }
    Ok(found)
}

/// One edit says where the audio begins and ends. Several rearrange it; those are left alone.
fn read_edits(input: &mut Input, elst: &Atom, mp4: &mut Mp4) -> Result<()> {
    let bytes = input.peek(elst.body.start, 8 + 20 * 2)?;
    let long = bytes.first() == Some(&1);
    let entry_bytes = if long { 20 } else { 12 };
    let mut edits = bytes
        .get(8..)
        .unwrap_or_default()
        .chunks_exact(entry_bytes)
        .take(number(input, elst.body.start + 4)? as usize)
        .map(|entry| {
            let half = if long { 8 } else { 4 };
            let field = |bytes: &[u8]| {
                bytes
                    .iter()
                    .fold(0_u64, |n, &byte| n << 8 | u64::from(byte))
            };
            let empty = entry[half..2 * half].iter().all(|&byte| byte == 0xff);
            (
                field(&entry[..half]),
                (!empty).then(|| field(&entry[half..2 * half])),
            )
        })
        // Empty ones put silence in front, in step with a video.
        .filter_map(|(duration, media_time)| Some((duration, media_time?)));
    if let (Some((duration, media_time)), None) = (edits.next(), edits.next()) {
        (mp4.duration, mp4.media_time) = (duration, media_time);
    }
    Ok(())
}

fn read_media(input: &mut Input, mdia: &Atom, found: &mut Trak) -> Result<()> {
    for atom in atoms(input, mdia.body.clone())? {
        match &atom.kind {
            b"mdhd" => found.mp4.timescale = timescale(input, &atom)?,
            b"hdlr" => {
                let handler = input.peek(atom.body.start + 8, 4)?;
                found.handler = *handler.first_chunk().ok_or_else(damaged)?;
            }
            b"minf" => {
                for stbl in atoms(input, atom.body)? {
                    if stbl.kind == *b"stbl" {
                        read_tables(input, &stbl, found)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_tables(input: &mut Input, stbl: &Atom, found: &mut Trak) -> Result<()> {
    let is_audio = found.handler == *b"soun";
    let (mut runs, mut samples) = (0, 0);
    for table in atoms(input, stbl.body.clone())? {
        let at = table.body.start;
        match &table.kind {
            b"stsd" => {
                let coding = input.peek(at + 12, 4)?;
                found.coding = *coding.first_chunk().ok_or_else(damaged)?;
            }
            b"stts" if is_audio => runs = u64::from(number(input, at + 4)?),
            b"stsz" if is_audio => samples = u64::from(number(input, at + 8)?),
            _ => {}
        }
    }
    if samples > input.len() || runs.saturating_mul(samples) > MAX_LOOKUP_STEPS {
        return Err(damaged());
    }
    Ok(())
}

/// Steps that looking up the samples of a fragment takes.
fn lookup_steps(input: &mut Input, moof: &Atom) -> Result<u64> {
    let mut steps: u64 = 0;
    for traf in atoms(input, moof.body.clone())? {
        if traf.kind != *b"traf" {
            continue;
        }
        let (mut runs, mut samples): (u64, u64) = (0, 0);
        for trun in atoms(input, traf.body)? {
            if trun.kind == *b"trun" {
                let count = u64::from(number(input, trun.body.start + 4)?);
                runs += 1;
                samples = samples.saturating_add(count);
                steps = steps.saturating_add(count.saturating_mul(count));
            }
        }
        steps = steps.saturating_add(runs.saturating_mul(samples));
    }
    Ok(steps)
}

/// The ticks of `mvhd` and `mdhd`, which begin alike.
fn timescale(input: &mut Input, atom: &Atom) -> Result<u32> {
    let at = atom.body.start;
    let version = input.peek(at, 1)?;
    number(input, at + if version == [1] { 20 } else { 12 })
}

fn number(input: &mut Input, at: u64) -> Result<u32> {
    let bytes = input.peek(at, 4)?;
    Ok(u32::from_be_bytes(
        *bytes.first_chunk().ok_or_else(damaged)?,
    ))
}

fn damaged() -> Error {
    unsupported("this is MP4 with a damaged index (moov)")
}

fn no_audio(traks: &[(u64, Trak)]) -> Error {
    let codings: Vec<String> = traks
        .iter()
        .take(8)
        .map(|(_, trak)| {
            String::from_utf8_lossy(&trak.coding)
                .escape_debug()
                .to_string()
        })
        .collect();
    unsupported(if codings.is_empty() {
        "this is MP4 without a track".into()
    } else {
        format!(
            "this is MP4 without audio, with video or other data only ({})",
            codings.join(", ")
        )
    })
}

/// Names the coding, or fails where it is one that is not supported.
fn codec_name(coding: [u8; 4]) -> Result<&'static str> {
    let name = match &coding {
        b"mp4a" => return Ok("AAC"),
        b"Opus" => return Ok("Opus"),
        b"alac" => return Ok("ALAC"),
        b"fLaC" => return Ok("FLAC"),
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"samr" | b"sawb" => "AMR",
        b"enca" => "encrypted audio",
        b"dtsc" | b"dtsh" | b"dtsl" => "DTS",
        other => &String::from_utf8_lossy(other).escape_debug().to_string(),
    };
    Err(unsupported(format!(
        "this is MP4 with {name}; of MP4, AAC, ALAC, FLAC and Opus are supported"
    )))
}
