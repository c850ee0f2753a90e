//! Places on the Earth, and how far apart they are.

use crate::error::{Error, Result};
use crate::types::Payload;
use std::cmp::Ordering;

/// The mean radius of the WGS84 ellipsoid, (2a + b) / 3, in metres (Moritz, Geodetic Reference System 1980).
pub const EARTH_RADIUS: f64 = 6_371_008.8;

/// A point: degrees north in -90..=90, and degrees east in -180..=180.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// Every place that is no farther than `metres` from the centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    /// Its middle.
    pub centre: Place,
    /// Its radius along the surface.
    pub metres: f64,
}

impl Place {
    /// A place, if there is one with these coordinates.
    pub fn new(lat: f64, lon: f64) -> Result<Place> {
        if lat.abs() <= 90.0 && lon.abs() <= 180.0 {
            return Ok(Place { lat, lon });
        }
        let what = format!("latitude {lat}, longitude {lon} is no place");
        Err(Error::invalid(what, "latitude comes first, from -90 to 90, then longitude, from -180 to 180"))
    }

    /// What an object such as `{"lat": 48.8584, "lon": 2.2945}` stands for; other fields may stand beside the two.
    pub fn of_json(object: &Payload) -> Option<Place> {
        let degrees = |name| object.get(name).and_then(serde_json::Value::as_f64);
        Place::new(degrees("lat")?, degrees("lon")?).ok()
    }

    /// Metres between the two along the surface of a sphere: the haversine formula (Sinnott, Sky & Telescope 68, 1984).
    pub fn metres_to(&self, other: &Place) -> f64 {
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let east = (other.lon - self.lon).to_radians();
        let half = ((b - a) / 2.0).sin().powi(2) + a.cos() * b.cos() * (east / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS * half.sqrt().min(1.0).asin()
    }
}

impl Circle {
    /// The circle of `metres` around a place, which must be more than nothing.
    pub fn new(centre: Place, metres: f64) -> Result<Circle> {
        if metres.is_finite() && metres > 0.0 {
            return Ok(Circle { centre, metres });
        }
        Err(Error::invalid(format!("a radius of {metres} m"), "it must be more than 0, such as 5 km"))
    }

    /// Whether the place lies in it.
    pub fn holds(&self, place: &Place) -> bool {
        self.centre.metres_to(place) <= self.metres
    }

    /// The least and the greatest latitude in it, and a hair more on either side, since it is a first sieve.
    pub fn latitudes(&self) -> (f64, f64) {
        let reach = (self.metres / EARTH_RADIUS).to_degrees() + 1e-6;
        (self.centre.lat - reach, self.centre.lat + reach)
    }
}

/// By latitude, then by longitude.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lat.total_cmp(&other.lat).then(self.lon.total_cmp(&other.lon))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_atlas() {
        let check = |a: (f64, f64), b: (f64, f64), km: f64| {
            let (a, b) = (Place::new(a.0, a.1).unwrap(), Place::new(b.0, b.1).unwrap());
            for found in [a.metres_to(&b), b.metres_to(&a)] {
                assert!((found / 1000.0 - km).abs() < 0.01, "{a:?} to {b:?}: {found} m, not {km} km");
            }
        };
        let quarter = EARTH_RADIUS / 1000.0 * std::f64::consts::FRAC_PI_2;
        check((0.0, 0.0), (0.0, 0.0), 0.0);
        check((0.0, 0.0), (90.0, 0.0), quarter);
        check((90.0, 17.0), (-90.0, 99.0), 2.0 * quarter);
        check((0.0, 90.0), (0.0, -90.0), 2.0 * quarter);
        // Across the date line.
        check((0.0, 179.5), (0.0, -179.5), quarter / 90.0);
        // The Eiffel Tower to Tower Bridge, by the angle between the two vectors.
        check((48.8584, 2.2945), (51.5055, -0.0754), 339.2413);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (lat, lon) in [(90.1, 0.0), (0.0, 180.5), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert!(Place::new(lat, lon).is_err(), "{lat}, {lon}");
        }
        let paris = Place::new(48.8584, 2.2945).unwrap();
        for metres in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Circle::new(paris, metres).is_err(), "{metres}");
        }
    }
}
