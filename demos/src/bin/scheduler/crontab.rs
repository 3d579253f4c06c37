//! The jobs and when they are due, from a file in the format of crontab(5).

use std::ops::RangeInclusive;
use std::path::Path;

use demos::BoxError;

/// All jobs.
#[derive(Debug)]
pub(crate) struct Crontab {
    jobs: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    name: String,
    minutes: Vec<u32>,
    hours: Vec<u32>,
}

impl Crontab {
    pub(crate) fn read(path: &Path) -> Result<Self, BoxError> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = text.lines().enumerate();
        let jobs = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let jobs = jobs.map(|(index, line)| {
            job(line).ok_or_else(|| format!("{}:{}: not `minute hour * * * job`", path.display(), index + 1).into())
        });
        Ok(Self {
            jobs: jobs.collect::<Result<_, BoxError>>()?,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The jobs that are due at a minute since midnight.
    pub(crate) fn due(&self, minute: u32) -> impl Iterator<Item = &str> {
        let (hour, minute) = (minute / 60 % 24, minute % 60);
        let due = move |job: &&Job| job.minutes.contains(&minute) && job.hours.contains(&hour);
        self.jobs.iter().filter(due).map(|job| job.name.as_str())
    }
}

fn job(line: &str) -> Option<Job> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [minutes, hours, "*", "*", "*", name] = fields[..] else {
        return None;
    };
    Some(Job {
        name: name.to_owned(),
        minutes: field(minutes, 0..=59)?,
        hours: field(hours, 0..=23)?,
    })
}

/// `*`, `7`, `1-5`, each with or without `/step`, or several of them with commas between.
fn field(text: &str, all: RangeInclusive<u32>) -> Option<Vec<u32>> {
    let mut values = Vec::new();
    for part in text.split(',') {
        let (range, step) = part
            .split_once('/')
            .map_or((part, Some(1)), |(range, step)| (range, step.parse().ok()));
        let range = match range.split_once('-') {
            _ if range == "*" => all.clone(),
            Some((first, last)) => first.parse().ok()?..=last.parse().ok()?,
            None => range.parse().ok()?..=range.parse().ok()?,
        };
        if !all.contains(range.start()) || !all.contains(range.end()) {
            return None;
        }
        values.extend(range.step_by(step.filter(|step| *step > 0)?));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_crontab() {
        assert_eq!(field("*/15", 0..=59), Some(vec![0, 15, 30, 45]));
        assert_eq!(field("3-9/3,50", 0..=59), Some(vec![3, 6, 9, 50]));
        assert_eq!(field("7", 0..=23), Some(vec![7]));
        for wrong in ["", "60", "1-60", "*/0", "a", "1,", "-1"] {
            assert_eq!(field(wrong, 0..=59), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_names_minute_hour_and_job() {
        let crontab = Crontab {
            jobs: ["*/30 1 * * * half-past", "5 * * * * five"]
                .map(|line| job(line).unwrap())
                .into(),
        };
        let due = |minute| crontab.due(minute).collect::<Vec<_>>();
        assert_eq!((due(0), due(5), due(60)), (vec![], vec!["five"], vec!["half-past"]));
        assert_eq!((due(90), due(65), due(150)), (vec!["half-past"], vec!["five"], vec![]));
        assert!(job("* * * * job").is_none() && job("* * 1 * * job").is_none());
    }
}
