//! What `eyeshot index -v` says at its end: how busy each step was, and what would make the run faster.

use crate::ingest::{Occupancy, Stage, limiting};

/// A line a step, and a sentence.
pub fn table(stages: &[Occupancy]) -> String {
    let mut text = String::from("step    threads   busy   line before it\n");
    for Occupancy { stage, threads, busy, line } in stages {
        let line = match stage {
            Stage::List => String::new(),
            _ => format!("{:>4.0} % full", 100.0 * line),
        };
        text.push_str(format!("{:<8}{threads:>7}  {:>3.0} %  {line}", stage.name(), 100.0 * busy).trim_end());
        text.push('\n');
    }
    text + &verdict(stages)
}

fn verdict(stages: &[Occupancy]) -> String {
    let Some(Occupancy { stage, busy, .. }) = limiting(stages) else {
        return "no step was busy for half of the time: there was little to do".into();
    };
    let (name, busy) = (stage.name(), 100.0 * busy);
    format!("{name} limits, busy for {busy:.0} % of the time: {}", advice(*stage))
}

/// What to try where a step limits.
fn advice(stage: Stage) -> &'static str {
    match stage {
        Stage::List => "name narrower prefixes, as several sources or in several runs",
        Stage::Fetch => "run nearer to the store, or share the work among machines with --shard I/N",
        Stage::Decode => {
            "give it more cores, smaller copies of the pictures, or share the work with --shard I/N"
        }
        Stage::Encode => {
            "a smaller --model, a larger --batch, more cores or a GPU, or share the work with --shard I/N"
        }
        Stage::Write => "put --data on a faster disk, or write more at once with a larger --batch",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_limits_and_what_to_try() {
        let of = |stage, busy, line| Occupancy { stage, threads: 2, busy, line };
        let all = [of(Stage::List, 0.01, 0.0), of(Stage::Fetch, 0.2, 0.114), of(Stage::Encode, 0.957, 1.0)];
        let wanted = "step    threads   busy   line before it\n\
                      list          2    1 %\n\
                      fetch         2   20 %    11 % full\n\
                      encode        2   96 %   100 % full\n\
                      encode limits, busy for 96 % of the time: a smaller --model, a larger --batch, more cores or a GPU, or \
                      share the work with --shard I/N";
        assert_eq!(table(&all), wanted);
        for stage in Stage::ALL {
            assert!(table(&[of(stage, 0.9, 0.5)]).contains(&format!("{} limits", stage.name())));
        }
        assert!(table(&[of(Stage::List, 0.1, 0.0)]).ends_with("there was little to do"));
    }
}
