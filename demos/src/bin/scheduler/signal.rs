//! Signals, sent with the command `kill`.

use std::process::Command;

use demos::BoxError;

pub(crate) fn send(signal: &str, pid: u32) -> Result<(), BoxError> {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()?;
    if !status.success() {
        return Err(format!("kill -{signal} {pid}: {status}").into());
    }
    // A process that stops itself goes on for a moment.
    if pid == std::process::id() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}
