//! The options that all commands share, and the connection they make.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use zookeeper_recipes::zookeeper_client::{Acl, Acls, AuthId, Permission};
use zookeeper_recipes::{ConnectOptions, Coordinator};

use crate::failure::Failure;
use crate::output::Output;
use crate::time::parse_duration;

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// The ensemble: h1:2181,h2:2181/chroot. There is no default
    #[arg(
        short,
        long,
        global = true,
        env = "ZOOKEEPER_CONNECT",
        value_name = "HOSTS",
        hide_env_values = true
    )]
    pub(crate) connect: Option<String>,
    /// The session timeout to ask for
    #[arg(short = 't', long, global = true, env = "ZOOKEEPER_SESSION_TIMEOUT", value_name = "DUR", default_value = "10s", value_parser = parse_duration)]
    pub(crate) session_timeout: Duration,
    /// How long to try to connect; by default as long as the session timeout
    #[arg(long, global = true, value_name = "DUR", value_parser = parse_duration)]
    connect_timeout: Option<Duration>,
    /// How much earlier than the session a hold ends; by default 26 % of it
    #[arg(long, global = true, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) lease_margin: Option<Duration>,
    /// A credential, such as digest:user:password or digest:@FILE; others see it in ps
    #[arg(
        long,
        global = true,
        env = "ZOOKEEPER_AUTH",
        value_name = "SCHEME:CRED",
        hide_env_values = true
    )]
    auth: Vec<String>,
    /// A file with one credential a line
    #[arg(long, global = true, value_name = "FILE")]
    auth_file: Option<std::path::PathBuf>,
    /// SASL DIGEST-MD5: USER:PASSWORD or @FILE with that in it; others see an argument in ps
    #[arg(
        long,
        global = true,
        env = "ZOOKEEPER_SASL",
        value_name = "USER:PASSWORD",
        hide_env_values = true
    )]
    sasl: Option<String>,
    /// The ACL of nodes that are created: open, auth, or SCHEME:ID:PERMS,...
    #[arg(
        long,
        global = true,
        env = "ZOOKEEPER_ACL",
        value_name = "ACL",
        default_value = "open"
    )]
    acl: String,
    /// Connect with TLS
    #[arg(long, global = true, env = "ZOOKEEPER_TLS")]
    tls: bool,
    /// Certificates of the authorities to trust, PEM
    #[arg(long, global = true, env = "ZOOKEEPER_TLS_CA", value_name = "FILE")]
    tls_ca: Option<std::path::PathBuf>,
    /// The client's certificate, PEM
    #[arg(
        long,
        global = true,
        env = "ZOOKEEPER_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<std::path::PathBuf>,
    /// The client's key, PEM
    #[arg(
        long,
        global = true,
        env = "ZOOKEEPER_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<std::path::PathBuf>,
    /// Ask the servers who is connected: off, auto (AdminServers at port 8080, else four-letter words), or URLs
    #[arg(
        long,
        global = true,
        env = "ZKR_ADMIN",
        value_name = "off|auto|URL,...",
        default_value = "off"
    )]
    pub(crate) admin: String,
    /// Print JSON, as cli/schema describes it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Whether results are coloured; never colour alone says something. NO_COLOR and CLICOLOR_FORCE are heeded
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,
    /// Show times in UTC
    #[arg(long, global = true)]
    utc: bool,
    /// Say only what failed
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; twice for the log, which ZKR_LOG filters
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How long a command that only looks may take
    #[arg(long, global = true, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

/// When results are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    fn is_on(self) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            Self::Auto => is_set("CLICOLOR_FORCE") || std::io::stdout().is_terminal(),
        }
    }
}

impl Globals {
    pub(crate) fn output(&self) -> Output {
        Output {
            json: self.json,
            utc: self.utc,
            quiet: self.quiet,
            verbose: self.verbose,
            colors: self.color.is_on(),
        }
    }

    /// The connect string.
    pub(crate) fn cluster(&self) -> Result<&str, Failure> {
        self.connect.as_deref().filter(|text| !text.is_empty()).ok_or_else(|| {
            Failure::usage(
                "no ensemble is named; give -c HOST:2181 or set ZOOKEEPER_CONNECT (for a try: zkr server start)",
            )
        })
    }

    /// Connects with an identity of its own, if one is given.
    pub(crate) async fn connect_as(&self, identity: Option<&str>) -> Result<Coordinator, Failure> {
        let cluster = self.cluster()?;
        let mut options = ConnectOptions::new()
            .session_timeout(self.session_timeout)
            .acls(self.acls()?);
        if let Some(margin) = self.lease_margin {
            options = options.lease_margin(margin);
        }
        if let Some(identity) = identity {
            options = options.identity(identity);
        }
        for credential in self.credentials()? {
            let Some((scheme, secret)) = credential.split_once(':') else {
                return Err(Failure::usage(
                    "a credential is SCHEME:CRED, such as digest:user:password",
                ));
            };
            let secret = match secret.strip_prefix('@') {
                Some(file) => read_text(file.as_ref())?.trim_end().to_owned(),
                None => secret.to_owned(),
            };
            options = options.auth(scheme, secret);
        }
        let options = self.with_sasl(self.with_tls(options)?)?;
        let limit = self.connect_timeout.unwrap_or(self.session_timeout);
        match tokio::time::timeout(limit, options.connect(cluster)).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(Failure::unreachable(format!(
                "no server of {cluster} answered within {} ms; is ZooKeeper running there?",
                limit.as_millis()
            ))),
        }
    }

    /// The same, with another session timeout; the time to connect stays as it is.
    pub(crate) fn asking_for(&self, session_timeout: Duration) -> Self {
        Self {
            connect_timeout: Some(self.connect_timeout.unwrap_or(self.session_timeout)),
            lease_margin: None,
            session_timeout,
            ..self.clone()
        }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Coordinator, Failure> {
        self.connect_as(None).await
    }

    /// Bounds what only looks by `--timeout`.
    pub(crate) async fn bounded<T>(&self, look: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, look).await {
            Ok(done) => done,
            Err(_) => Err(Failure::unreachable(format!(
                "incomplete: no answer within {} ms; raise --timeout, or look whether the ensemble has a quorum",
                self.timeout.as_millis()
            ))),
        }
    }

    fn credentials(&self) -> Result<Vec<String>, Failure> {
        let mut all = self.auth.clone();
        if let Some(file) = &self.auth_file {
            let text = read_text(file)?;
            all.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned),
            );
        }
        Ok(all)
    }

    fn acls(&self) -> Result<Vec<Acl>, Failure> {
        match self.acl.as_str() {
            "open" => Ok(Acls::anyone_all().to_vec()),
            "auth" => Ok(Acls::creator_all().to_vec()),
            list => list.split(',').map(acl).collect(),
        }
    }

    #[cfg(feature = "sasl")]
    fn with_sasl(&self, options: ConnectOptions) -> Result<ConnectOptions, Failure> {
        use zookeeper_recipes::zookeeper_client::SaslOptions;
        let Some(given) = &self.sasl else { return Ok(options) };
        let read = match given.strip_prefix('@') {
            Some(file) => read_text(file.as_ref())?.trim_end().to_owned(),
            None => given.clone(),
        };
        let (user, password) = read
            .split_once(':')
            .ok_or_else(|| Failure::usage("--sasl takes USER:PASSWORD, or @FILE with that in it"))?;
        let (user, password) = (user.to_owned(), password.to_owned());
        Ok(options.sasl(SaslOptions::digest_md5(user, password)))
    }

    #[cfg(not(feature = "sasl"))]
    fn with_sasl(&self, options: ConnectOptions) -> Result<ConnectOptions, Failure> {
        match self.sasl {
            Some(_) => Err(Failure::usage(
                "this zkr was built without SASL; build it with --features sasl",
            )),
            None => Ok(options),
        }
    }

    #[cfg(feature = "tls")]
    fn with_tls(&self, options: ConnectOptions) -> Result<ConnectOptions, Failure> {
        use zookeeper_recipes::zookeeper_client::TlsOptions;
        let wrong = |error| Failure::usage(format!("TLS: {error}"));
        if !self.tls && self.tls_ca.is_none() && self.tls_cert.is_none() {
            return Ok(options);
        }
        let mut tls = TlsOptions::default();
        if let Some(ca) = &self.tls_ca {
            tls = TlsOptions::new().with_pem_ca(&read_text(ca)?).map_err(wrong)?;
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls
                .with_pem_identity(&read_text(cert)?, &read_text(key)?)
                .map_err(wrong)?;
        }
        Ok(options.tls(tls))
    }

    #[cfg(not(feature = "tls"))]
    fn with_tls(&self, options: ConnectOptions) -> Result<ConnectOptions, Failure> {
        match self.tls || self.tls_ca.is_some() || self.tls_cert.is_some() {
            true => Err(Failure::usage(
                "this zkr was built without TLS; build it with --features tls",
            )),
            false => Ok(options),
        }
    }
}

fn read_text(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}

/// `digest:user:hash:cdrwa`.
fn acl(text: &str) -> Result<Acl, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{text:?} is no ACL; write open, auth, or SCHEME:ID:PERMS such as world:anyone:cdrwa"
        ))
    };
    let (who, letters) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (scheme, id) = who.split_once(':').ok_or_else(wrong)?;
    let mut permission = Permission::NONE;
    for letter in letters.chars() {
        permission = permission
            | match letter {
                'c' => Permission::CREATE,
                'd' => Permission::DELETE,
                'r' => Permission::READ,
                'w' => Permission::WRITE,
                'a' => Permission::ADMIN,
                _ => return Err(wrong()),
            };
    }
    Ok(Acl::new(permission, AuthId::new(scheme, id)))
}

/// Checks a path of the command line; one that is nearly right is told with the right one.
pub(crate) fn parse_path(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let right = format!("/{}", parts.join("/"));
    if text == right && !parts.contains(&"..") {
        return Ok(right);
    }
    if parts.contains(&"..") {
        return Err("a path has no ..; write it from the root".to_owned());
    }
    Err(format!(
        "a path begins with / and has no trailing or double one; did you mean {right}?"
    ))
}
