//! What a name says: whether it is an image's, whether it describes one.

use super::SidecarKind;

/// Names that end so are taken for images. Those of formats that cannot be decoded yet are among them, so that they are
/// refused with a reason instead of being passed over in silence.
const EXTENSIONS: [&str; 28] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "heic", "heif",
    "hif", "avif", "jxl", // and cameras' RAW files:
    "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef", "srw", "3fr",
];

/// The endings of sidecars, in the order in which they are read.
pub(super) const SIDECARS: [(&str, SidecarKind); 2] =
    [("txt", SidecarKind::Text), ("json", SidecarKind::Json)];

/// Whether something that ends in `.extension` is taken for an image.
pub(super) fn is_image(extension: &str) -> bool {
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// How something that ends in `.extension` describes an image, if it does.
pub(super) fn sidecar(extension: &str) -> Option<SidecarKind> {
    SIDECARS.iter().find(|(name, _)| extension.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}

/// A name of the form `folder/stem.extension` in two: up to the last dot of its last part, and from there. None where there
/// is no dot, or nothing before it.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name.get(last..)?.rfind('.').filter(|dot| *dot > 0)? + last;
    Some((name.get(..dot)?, name.get(dot + 1..)?))
}

/// Whether a part of the name begins with a dot: such things are hidden.
pub(super) fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_last_dot() {
        assert_eq!(split("a/b.c/d.e.jpg"), Some(("a/b.c/d.e", "jpg")));
        assert_eq!(split("a.b/c"), None);
        assert_eq!(split("a/.jpg"), None);
        assert_eq!(split("x."), Some(("x", "")));
        assert!(is_hidden("a/.thumbs/b.jpg") && !is_hidden("a/b.jpg"));
        assert!(is_image("JPG") && sidecar("Txt") == Some(SidecarKind::Text) && sidecar("jpg").is_none());
    }
}
