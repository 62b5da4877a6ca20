# The image of jsdkd. Drop-in for the original's:
#   docker run -d -p 443:3030 -v ./jsdkd.json:/app/jsdkd.json IMAGE

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# jemalloc is built with it.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*

# The dependencies get a layer of their own, built behind empty sources: a change of ours does not build theirs again.
# rust-toolchain.toml stays outside, or rustup would fetch the linters that no image needs.
COPY .cargo ./.cargo
COPY Cargo.toml Cargo.lock ./
COPY crates/clock/Cargo.toml crates/clock/
COPY crates/wechat/Cargo.toml crates/wechat/
COPY crates/credentials/Cargo.toml crates/credentials/
COPY crates/sandbox/Cargo.toml crates/sandbox/
RUN mkdir -p src tests/it crates/clock/src crates/wechat/src crates/credentials/src crates/sandbox/src \
    && echo 'fn main() {}' | tee src/main.rs > tests/it/main.rs \
    && touch src/lib.rs crates/clock/src/lib.rs crates/wechat/src/lib.rs crates/credentials/src/lib.rs crates/sandbox/src/lib.rs \
    && cargo build --release --locked --bin jsdkd \
    && rm -r src crates

COPY askama.toml ./
COPY config ./config
COPY static ./static
COPY crates ./crates
COPY src ./src
# The sources may be older than the empty ones were; cargo compares times.
RUN touch src/main.rs src/lib.rs crates/*/src/lib.rs && cargo build --release --locked --bin jsdkd

FROM debian:bookworm-slim
# ca-certificates to know WeChat by, tzdata for TZ below.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/*

# An empty configuration, as the original's image has, so that environment variables alone can be enough. The folders belong to
# the server: a cache file named without a path lands in the one, a volume for it goes to the other and takes over its owner.
# Nothing else is ever written, so the root may be read-only.
RUN mkdir -p /app/cache && echo '{}' > /app/jsdkd.json && chown -R 10001:10001 /app
COPY --from=build /build/target/release/jsdkd /usr/local/bin/jsdkd
COPY static /app/static

WORKDIR /app
ENV APP_CONFIG=/app/jsdkd.json
# The original's image keeps Chinese time, and so does ours for whatever is told in local time. The log, signatures and expiries
# are in UTC all the same.
ENV TZ=Asia/Shanghai
EXPOSE 3030

# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/jsdkd", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/jsdkd"]
