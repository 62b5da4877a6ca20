//! `docs/gateway.md` in both languages shows the program's own table of paths.

use jsdkd::realm::presets::{Handling, Preset, TABLE};
use jsdkd::settings::{Source, load};

fn told(handling: Handling, chinese: bool) -> &'static str {
    let (english, translated) = match handling {
        Handling::Call => ("forwarded", "转发"),
        Handling::IssueToken => ("a virtual token", "虚拟 token"),
        Handling::SwapSecret => (
            "forwarded with the real AppSecret",
            "换上真正的 AppSecret 转发",
        ),
        Handling::Anonymous => ("anonymous", "匿名"),
        Handling::AnonymousAtMp => ("anonymous, at `wechat.mp`", "匿名，发往 `wechat.mp`"),
        Handling::OwnTicket => ("the ticket that we hold", "我们持有的 ticket"),
        Handling::OnlyByName => ("only by its own path", "必须写明路径"),
        Handling::OnlyByNameSwapSecret => (
            "only by its own path, with the real AppSecret",
            "必须写明路径，换上真正的 AppSecret",
        ),
    };
    if chinese { translated } else { english }
}

#[test]
fn the_table_of_paths_is_the_programs_own() {
    for (name, chinese) in [("docs/gateway.md", false), ("docs/gateway.zh-CN.md", true)] {
        let page =
            std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let shown: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `/"))
            .collect();
        let none = if chinese { "无" } else { "none" };
        let ours: Vec<String> = TABLE
            .iter()
            .map(|row| {
                let presets: Vec<String> = row
                    .presets
                    .iter()
                    .map(|preset| format!("`{}`", preset.name()))
                    .collect();
                let presets = if presets.is_empty() {
                    none.to_owned()
                } else {
                    presets.join(", ")
                };
                format!(
                    "| `{}` | {presets} | {} |",
                    row.path,
                    told(row.handling, chinese)
                )
            })
            .collect();
        assert_eq!(shown, ours, "{name}");
        for preset in Preset::ALL {
            assert!(
                page.contains(&format!("| `{}` |", preset.name())),
                "{name} explains {}",
                preset.name()
            );
        }
    }
}

#[test]
fn the_settings_on_the_page_load_without_a_warning() {
    let secret = "0123456789abcdef0123456789abcdef";
    let names = ["WX_SECRET", "CORP_SECRET"].map(|name| (name, "secret"));
    let callers = ["SHOP_SECRET", "MOVIES_SECRET"].map(|name| (name, secret));
    for name in ["docs/gateway.md", "docs/gateway.zh-CN.md"] {
        let page =
            std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let blocks = page
            .split("```js\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        let settings: Vec<&str> = blocks.filter(|block| block.starts_with('{')).collect();
        assert_eq!(settings.len(), 2, "{name}");
        for text in settings {
            let loaded = load(
                &Source::text(name, text),
                &names.into_iter().chain(callers).collect(),
            );
            assert_eq!(
                loaded.unwrap_or_else(|fault| panic!("{fault}")).warnings,
                [""; 0],
                "{text}"
            );
        }
    }
}
