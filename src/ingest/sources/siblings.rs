//! Images and the files that describe them, joined while a listing passes by.
//!
//! A store lists names in their order, and a webdataset keeps one sample's members together: in both, `stem.jpg`, `stem.json` and
//! `stem.txt` follow one another with nothing between them but names that begin with `stem.` too. So what is held back at any
//! time is one chain of names, each the beginning of the next.

use super::{SidecarKind, names};
use std::collections::VecDeque;

/// One image and its sidecars, each with what the listing knows of it.
pub(super) struct Family<T> {
    pub image: (String, T),
    pub sidecars: Vec<(SidecarKind, String, T)>,
}

/// Joins what it is given.
pub(super) struct Siblings<T> {
    waiting: VecDeque<Waiting<T>>,
}

struct Waiting<T> {
    stem: String,
    images: Vec<(String, T)>,
    sidecars: Vec<(SidecarKind, String, T)>,
}

impl<T> Default for Siblings<T> {
    fn default() -> Self {
        Siblings { waiting: VecDeque::new() }
    }
}

impl<T: Clone> Siblings<T> {
    /// Takes the next name of the listing, and gives the families that are complete now.
    pub fn next(&mut self, name: String, known: T) -> Vec<Family<T>> {
        let done = self.leave(Some(&name));
        let Some((stem, extension)) = names::split(&name) else { return done };
        let (image, sidecar) = (names::is_image(extension), names::sidecar(extension));
        if !image && sidecar.is_none() {
            return done;
        }
        let stem = stem.to_owned();
        let at = self.waiting.iter().position(|w| w.stem == stem).unwrap_or_else(|| {
            self.waiting.push_back(Waiting { stem, images: Vec::new(), sidecars: Vec::new() });
            self.waiting.len() - 1
        });
        if let Some(family) = self.waiting.get_mut(at) {
            match sidecar {
                Some(kind) => family.sidecars.push((kind, name, known)),
                None => family.images.push((name, known)),
            }
        }
        done
    }

    /// The families that are left at the end.
    pub fn end(&mut self) -> Vec<Family<T>> {
        self.leave(None)
    }

    /// Those that `name` cannot belong to.
    fn leave(&mut self, name: Option<&str>) -> Vec<Family<T>> {
        let mut done = Vec::new();
        self.waiting.retain_mut(|waiting| {
            let stays = name
                .and_then(|name| name.strip_prefix(&waiting.stem))
                .is_some_and(|rest| rest.starts_with('.'));
            if !stays {
                waiting.sidecars.sort_by_key(|(kind, ..)| *kind);
                for image in std::mem::take(&mut waiting.images) {
                    done.push(Family { image, sidecars: waiting.sidecars.clone() });
                }
            }
            stays
        });
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(names: &[&str]) -> Vec<String> {
        let mut siblings = Siblings::default();
        let mut found = Vec::new();
        for name in names {
            found.extend(siblings.next((*name).to_owned(), ()));
        }
        found.extend(siblings.end());
        let say = |family: Family<()>| {
            let beside: Vec<String> = family.sidecars.into_iter().map(|(_, name, ())| name).collect();
            format!("{} <- {}", family.image.0, beside.join(" "))
        };
        found.into_iter().map(say).collect()
    }

    #[test]
    fn images_find_their_sidecars() {
        assert_eq!(joined(&["a.jpg", "a.json", "a.txt", "b.jpg"]), ["a.jpg <- a.txt a.json", "b.jpg <- "]);
        // The sidecar may come first, another name may stand between, and two images may share a stem.
        let odd = joined(&["a.JSON", "a.b.png", "a.b.txt", "a.jpg", "a.png", "b.txt", "c/a.txt", "c/a.webp"]);
        assert_eq!(odd, ["a.b.png <- a.b.txt", "a.jpg <- a.JSON", "a.png <- a.JSON", "c/a.webp <- c/a.txt"]);
        assert_eq!(joined(&["noext", "dir/", ".jpg", "x.pdf"]), Vec::<String>::new());
    }
}
