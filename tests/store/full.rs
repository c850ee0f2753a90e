//! A disk that fills up: an error, and nothing lost.
#![cfg(unix)]

use crate::common::{Ran, eyeshot, picture, run, tiny_clip};
use std::path::Path;
use std::process::Command;

const PICTURES: u32 = 60;

/// Runs the program where no file may grow over so many KiB, which writes notice as they notice a full disk.
fn limited(home: &Path, kib: u64, args: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
    command.arg("-c").arg(script).arg(eyeshot(home).get_program()).args(args);
    command.current_dir(home).env("EYESHOT_OFFLINE", "true").env("HF_HOME", home.join("hf"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn items(home: &Path) -> u64 {
    let all = run(home, ["collection", "list", "--json"]).expect(0).json();
    all.first().map_or(0, |c| c["items"].as_u64().unwrap())
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::create_dir(home.join("pictures")).unwrap();
    for n in 0..PICTURES {
        picture(&home.join(format!("pictures/{n:03}.png")), n);
        // Long captions, so that rows take room.
        let said = format!("{n} {}", "of many words ".repeat(200));
        std::fs::write(home.join(format!("pictures/{n:03}.txt")), said).unwrap();
    }
    let model = tiny_clip();
    let index = ["index", "pictures", "--json", "--model", model.to_str().unwrap()];
    let (mut failed, mut before) = (0, 0);
    for kib in [1, 16, 64, 128, 256, 384, 512, 640, 1024, 2048, 4096] {
        let ran = limited(home, kib, &index);
        assert!([0, 1].contains(&ran.code), "{kib} KiB: exit {}, {}", ran.code, ran.err);
        failed += ran.code;
        let now = items(home);
        assert!(now >= before, "{kib} KiB: {before} items were there, now {now}");
        run(home, ["collection", "check"]).expect(0);
        before = now;
    }
    assert!(failed > 0, "no limit was low enough");
    run(home, index).expect(0);
    assert_eq!(items(home), u64::from(PICTURES));

    for (verb, kib) in [("compact", 4), ("compact", 64), ("backup", 1), ("backup", 100)] {
        let file = if verb == "backup" { &["full.eyeshot"][..] } else { &[] };
        let ran = limited(home, kib, &[&["collection", verb], file].concat());
        assert_eq!(ran.code, 1, "{verb} within {kib} KiB: {}", ran.err);
        assert!(!home.join("full.eyeshot").exists());
        run(home, ["collection", "check"]).expect(0);
        assert_eq!(items(home), u64::from(PICTURES));
    }
}
