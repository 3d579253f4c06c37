//! Certificates for a test, made by the program `openssl` in a directory that goes with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority and what it signs.
pub(crate) struct Authority {
    dir: PathBuf,
}

/// How long a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Valid {
    Tomorrow,
    Expired,
}

/// PEM files of a certificate and its key.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zookeeper-secure-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&dir).unwrap();
        let subject = format!("/CN={name}");
        let request = ["req", "-x509", "-nodes", "-days", "2", "-subj", &subject];
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let files = ["-keyout", "ca.key", "-out", "ca.pem"];
        openssl(&dir, request.into_iter().chain(curve).chain(files));
        Self { dir }
    }

    /// The authority's own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.read("ca.pem")
    }

    /// Where that is.
    pub(crate) fn pem_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate for 127.0.0.1.
    pub(crate) fn sign(&self, name: &str, valid: Valid) -> Certificate {
        fs::write(self.dir.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
        let (key, request, signed) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let new = ["req", "-new", "-nodes", "-subj", &subject];
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        openssl(
            &self.dir,
            new.into_iter().chain(curve).chain(["-keyout", &key, "-out", &request]),
        );
        let days = match valid {
            Valid::Tomorrow => "2",
            Valid::Expired => "-1",
        };
        let authority = [
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
        ];
        let sign = ["x509", "-req", "-in", &request, "-out", &signed, "-days", days];
        openssl(&self.dir, sign.into_iter().chain(authority));
        Certificate {
            certificate: self.read(&signed),
            key: self.read(&key),
        }
    }

    /// One file of certificate and key, as a server in Java takes it.
    pub(crate) fn key_store(&self, name: &str, valid: Valid) -> PathBuf {
        let Certificate { certificate, key } = self.sign(name, valid);
        let file = self.dir.join(format!("{name}.store.pem"));
        fs::write(&file, format!("{key}{certificate}")).unwrap();
        file
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir.join(file)).unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn openssl<'a>(dir: &Path, arguments: impl Iterator<Item = &'a str>) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    let output = output.expect("the tests make certificates with the program openssl");
    assert!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
