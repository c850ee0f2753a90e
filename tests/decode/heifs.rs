//! AVIF and HEIC, where the build has them: as Pillow shows them, turned once, with what EXIF says.

use super::{difference, fixture, shown};
use eyeshot::engine::decode::{Limits, decode, open};

fn agrees(name: &str, tolerance: u8) {
    let reference = image::load_from_memory(&fixture(&format!("{name}.png"))).unwrap().into_rgb8();
    let off = difference(&shown(&fixture(name)).image, &reference);
    assert!(off <= tolerance, "{name}: off by {off}");
}

/// EXIF says that the picture is to be turned, and so does a box: it is turned once.
fn photograph(name: &str) {
    let decoded = shown(&fixture(name));
    assert_eq!((decoded.format, decoded.width, decoded.height), (&name[5..], 64, 96), "{name} is turned");
    assert_eq!(decoded.image.dimensions(), (64, 96), "{name}");
    assert_eq!(decoded.taken, Some(1_563_677_775), "{name}: 2019-07-21T02:56:15");
    assert_eq!(decoded.exif["camera"], "Canon EOS R5", "{name}");
    assert_eq!(decoded.exif["gps"]["lat"], -33.8587500, "{name}");
    agrees(name, 6);
}

fn broken(name: &str) {
    let whole = fixture(name);
    let said = |bytes: &[u8], limits: Limits| decode(bytes, &limits).unwrap_err().to_string();
    let usual = Limits::default();
    for length in (0..whole.len()).step_by(7) {
        let result = decode(&whole[..length], &usual);
        assert!(result.is_err(), "{name} cut to {length} of {}", whole.len());
    }
    let error = said(&whole, Limits { pixels: 64 * 96 - 1, ..usual.clone() });
    assert!(error.contains("6144 pixels") || error.contains("limit"), "{name}: {error}");
    let error = said(&whole, Limits { memory: 64 * 96 * 3, ..usual.clone() });
    assert!(error.contains("memory"), "{name}: {error}");
    let opened = open(&whole, &usual).unwrap();
    assert!(opened.memory >= 64 * 96 * 6, "{name}: {}", opened.memory);
}

#[cfg(feature = "heic")]
#[test]
fn heic() {
    photograph("exif.heic");
    agrees("icc-adobe.heic", 6);
    broken("exif.heic");
}

#[cfg(feature = "avif")]
#[test]
fn avif() {
    photograph("exif.avif");
    agrees("alpha.avif", 6);
    broken("exif.avif");
}
