//! Examples below the help.

pub(super) const EXAMPLES: &str = "\
Examples:
  estafette demo                                a look at it, on this machine alone
  estafette receive --into ~/inbox              prints a ticket
  estafette send photos/ notes.txt -            on the other machine; asks for that ticket
  estafette send --detach big.tar @ticket.txt   only stored; delivered by:
  estafette node                                delivers what is stored, until it is stopped
  estafette ask paris/shop shop.Order '{…}'      an actor of a program there
  estafette run two-nodes.toml                  the nodes and routes of a file

Every flag has an environment variable: --chunk-size is ESTAFETTE_CHUNK_SIZE.";

pub(super) const LONG_EXAMPLES: &str = "\
Examples:
  estafette demo                                a look at it, on this machine alone
  estafette receive --into ~/inbox              prints a ticket
  estafette send photos/ notes.txt -            on the other machine; asks for that ticket
  estafette send --detach big.tar @ticket.txt   only stored; delivered by:
  estafette node                                delivers what is stored, until it is stopped
  estafette ask paris/shop shop.Order '{…}'      an actor of a program there
  estafette run two-nodes.toml                  the nodes and routes of a file

Every flag has an environment variable: --chunk-size is ESTAFETTE_CHUNK_SIZE.

Exit codes:
  0    delivered: the receiver has verified it and made it durable; with --detach: stored; with \
                                        --via: the relay keeps it
  2    wrong usage
  3    refused by the receiver, or not trusted there
  4    the other node can't be reached
  5    bytes did not verify
  6    input or output failed; of a tree, all else was delivered; doctor: something is damaged
  130  stopped by a signal before it was done";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  estafette run two-nodes.toml                 all nodes, until Ctrl-C
  estafette run two-nodes.toml --once          until what is sent once is delivered
  estafette run two-nodes.toml --node paris    one of them, in this process

The keys and the spools of nodes that name none lie in .estafette/, beside the file.

SIGHUP has it look at its file at once, as `estafette reload` does. Where the terminal is gone that
it was started from, it ends, as after a first Ctrl-C.";

pub(super) const VALIDATE_EXAMPLES: &str = "\
Examples:
  estafette validate two-nodes.toml
  estafette validate --json two-nodes.toml     one event for each fault, with its line and bytes

Exit codes: 0 nothing is wrong, 2 something is.";

pub(super) const GRAPH_EXAMPLES: &str = "\
Examples:
  estafette graph two-nodes.toml --output two-nodes.svg
  estafette graph two-nodes.toml --format mermaid        for a page that draws it: a README
  estafette graph two-nodes.toml --format dot | dot -Tpdf > two-nodes.pdf
  estafette graph two-nodes.toml --live --output now.svg        with rates and states

What a route names and nobody has is drawn in red, and told.

Exit codes: 0 nothing is wrong, 2 something is, 6 the drawing can't be written.";

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  estafette top
  estafette top two-nodes.toml
  estafette top two-nodes.toml --every 5s > log
  estafette --json top two-nodes.toml --once | jq .snapshot.stages

Ctrl-C ends it. Written to a terminal it is one page; to a file, one page after another.";

pub(super) const TAP_EXAMPLES: &str = "\
Examples:
  estafette tap two-nodes.toml post
  estafette tap two-nodes.toml post seal --samples 1
  estafette --json tap two-nodes.toml post | jq -r 'select(.event == \"tap_piece\") | .name'

The node of the route runs on this machine. `tap` of the route says what may be seen: names,
unless it says otherwise. No delivery waits for it: what is not shown is counted.";

pub(super) const RECORD_EXAMPLES: &str = "\
Examples:
  estafette record two-nodes.toml post --into tapes
  estafette record two-nodes.toml post --into tapes --for paris --count 1

The route says for whom: tap = { record = \"paris\" }. It is sealed in the node of the route, before
it is written. No delivery waits for it: one for which the disk is too slow is not recorded, which
is told.";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  estafette replay two-nodes.toml post tapes/*.package

The node of the route runs on this machine, and is the one for which it was recorded.";

pub(super) const TRACE_EXAMPLES: &str = "\
Examples:
  estafette trace chain.toml lyon letter.txt
  estafette --json trace chain.toml lyon letter.txt | jq -r .does

Exit codes: 0 it would arrive, 1 it would end before, 2 no route sends it.";

pub(super) const SCHEMA_EXAMPLES: &str = "\
Examples:
  estafette schema > topology.schema.json

and in the first line of a topology, for VS Code with Even Better TOML, and others by taplo:
  #:schema ./topology.schema.json

What needs the whole topology to be seen, such as a route to an inbox that is not there, is what
`validate` finds.";

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  estafette plan two-nodes.toml

`run` notices that its file has changed, and reloads it: what did not change is not touched. A file
that is at fault changes nothing.";

pub(super) const RELOAD_EXAMPLES: &str = "\
Examples:
  estafette reload two-nodes.toml

`run` looks at its file twice a second by itself. This waits until all is done, and it tries again
what was refused. Exit codes: 0 all is as the file says, 2 the file is at fault or nobody runs it,
3 or 6 something was refused or failed, and goes on as before.";

pub(super) const TEST_EXAMPLES: &str = "\
Examples:
  estafette test two-nodes.toml
  estafette test two-nodes.toml --seed 7 --cuts 20 --kills 5

Nothing of it touches the paths or the addresses that the topology names. Exit codes: 0 all is as
expected, 1 something is not.";

pub(super) const RECEIVE_EXAMPLES: &str = "\
Examples:
  estafette receive --into ~/inbox --once
  estafette receive --into /srv/in --listen 0.0.0.0:7400 --redeemers 20 --on-conflict rename
  estafette receive --into in --listen 127.0.0.1:7400 --advertise gate.example.org:17400";

pub(super) const TRUST_EXAMPLES: &str = "\
Examples:
  estafette trust list
  estafette trust add 3yiqr4na… --name lyon --addr lyon.example.org:7400
  estafette trust add kq2m7c5x… --name dijon --addr dijon.example.org:7400 --relay-only
  estafette trust add 3yiqr4na… --valid 30d
  estafette trust remove lyon";

#[cfg(feature = "doors")]
pub(super) const TOKEN_EXAMPLES: &str = "\
Examples:
  estafette token add till --to paris/shop --rate 10/s --expires 30d
  estafette node --http 127.0.0.1:7480
  curl http://127.0.0.1:7480/v1/ask/paris/shop/shop.Order \\
    -H \"Authorization: Bearer $TOKEN\" --json '{\"article\":\"tea\"}'
  estafette token remove till";

#[cfg(feature = "webhooks")]
pub(super) const WEBHOOK_EXAMPLES: &str = "\
Examples:
  estafette node --webhook orders=https://example.org/hooks/orders --webhook-secret orders.secret
  estafette webhook list orders         what waits, and what is dead
  estafette webhook retry --dead orders
  estafette webhook enable orders       after its receiver has answered 410";

pub(super) const TICKET_EXAMPLES: &str = "\
Examples:
  estafette ticket @ticket.txt      where it leads
  estafette ticket list             who may still come in with one
  estafette ticket revoke 9c1f04    as `ticket list` prints it";

pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  estafette send big.tar -                         asks for the ticket, or reads it from a pipe
  estafette send photos/ notes.txt @ticket.txt     arrives as one folder
  pg_dump shop | estafette send --as shop.sql - @ticket.txt
  estafette send --exclude target/ --links follow project/ @ticket.txt
  estafette send --skip-existing photos/ @ticket.txt   nothing, if the receiver has it from last \
                                        time
  estafette send -- -odd-name estafette1…        others on this machine may see it, and your \
                                        shell remembers it
  estafette send --addr localhost:17400 big.tar estafette1…
  estafette send --detach --expires 7d backup.tar paris/files
  estafette send --detach --copy report.pdf paris/files && rm report.pdf
  estafette send --via dijon letter.txt paris/files   the relay keeps it until paris comes
  estafette send --via dijon letter.txt 3yiqr4na…/files

The first Ctrl-C or SIGTERM lets it finish, for --drain at most; the second cancels it. To let it \
                                        go on without you, use --detach.

Where `estafette node` or `receive` runs with this key, that one sends for you, with its own \
                                        --name and --patience; it must be able to read what you \
                                        send. It all looks the same, and ends when you end it.

What goes by a relay is sealed for the receiver, who must trust this node (there: estafette trust \
                                        add, with what `estafette id` prints here) or have given \
                                        it a ticket.";

pub(super) const NODE_EXAMPLES: &str = "\
Examples:
  estafette node
  estafette node --into /srv/in --listen 0.0.0.0:7400 --redeemers 20 --valid 7d --on-conflict \
                                        rename
  estafette node --relay --listen 0.0.0.0:7400 --relay-bytes 10GiB
  estafette node --config /etc/estafette.toml    what flags say, and limits, in a file
  estafette node --into /srv/in --connect dijon          takes what the relay dijon keeps for it, \
                                        too

A relay, its senders and its receivers must trust each other (estafette trust add, on both sides).
The first SIGTERM or Ctrl-C lets what runs finish, for --drain at most; what is stored goes on at \
                                        the next start.";

pub(super) const OUTBOX_EXAMPLES: &str = "\
Examples:
  estafette outbox list
  estafette outbox show 5310c4099b98e770
  estafette outbox retry 5310c4099b98e770";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  estafette doctor
  estafette doctor --repair

Exit codes: 0 all is well, 6 something is damaged.";

pub(super) const ASK_EXAMPLES: &str = "\
Examples:
  estafette ask paris/shop shop.Order '{\"article\":\"tea\"}'
  estafette ask paris/shop shop.Order@2 @order.json
  jq -c .order today.json | estafette ask paris/shop shop.Order -

On a terminal the answer is printed on several lines, else on one. What goes wrong says whether \
                                        the message was handled.
The other node must trust this one (there: estafette trust add), and the actor must take the type \
                                        as JSON: `estafette describe paris` says so.";

pub(super) const TELL_EXAMPLES: &str = "\
Examples:
  estafette tell paris/log log.Line '{\"text\":\"begun\"}'";

pub(super) const DELIVER_EXAMPLES: &str = "\
Examples:
  estafette deliver paris/shop shop.Order '{\"article\":\"tea\"}'
  estafette deliver --wait --within 1m paris/shop shop.Order @order.json
  estafette outbox messages

It prints the id of the message when it is stored; `estafette node`, running with this key, delivers \
                                        it: once in effect, after what was stored before it.";

pub(super) const UPLOAD_EXAMPLES: &str = "\
Examples:
  jq -c .[] orders.json | estafette upload paris/shop shop.Order

Ctrl-C, and a line that is no JSON, cancel it: the actor hears that not all has come.";

pub(super) const OPEN_EXAMPLES: &str = "\
Examples:
  tail -F access.log | jq -cR . | estafette open paris/grep grep.Line
  estafette open paris/chat chat.Say

It ends when the actor has answered to the end; the end of stdin says that there are no more \
                                        requests. Ctrl-C cancels it.";

pub(super) const DOWNLOAD_EXAMPLES: &str = "\
Examples:
  estafette download paris/greeter greeter.SayHello '{\"name\":\"Ada\",\"times\":3}'
  estafette download paris/prices prices.Follow '\"tea\"' | while read -r price; do …; done

Answers come one to a line, as fast as they are taken. Ctrl-C cancels it, and the actor hears of it.";

pub(super) const DESCRIBE_EXAMPLES: &str = "\
Examples:
  estafette describe paris
  estafette describe paris/shop
  estafette --json describe paris | jq -r .name

A node tells of what this one may send to, and of nothing else.";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(estafette completions bash)          in ~/.bashrc
  source <(estafette completions zsh)           in ~/.zshrc, after compinit
  estafette completions fish | source           in ~/.config/fish/config.fish

What a peer has is asked of that peer when Tab is pressed, for 2 s at
most; ESTAFETTE_COMPLETE_WITHIN says another time.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_examples_of_reload_fit_into_100_columns() {
        assert!(RELOAD_EXAMPLES.lines().all(|line| line.chars().count() <= 100));
    }
}
