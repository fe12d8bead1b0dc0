"""Small logs and a sentence encoder of the profile ``gpu``, written as their publishers do.

Each call writes the same bytes.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.tools.own_data import OwnData

KUAIRAND_LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)
KUAIRAND_VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag\n"
)
FIRST_DAY = 1_649_347_200_000  # 8 April 2022 in Beijing, milliseconds
DAYS, RANDOM_FROM = 31, 14  # the logs end on 8 May; random slots begin on 22 April
DAY = 86_400_000
MODALITIES = {"text": 1024, "image": 1024, "video": 768}
FEATURE_FILES = {
    "text": "MicroLens-100k_title_en_text_features_BgeM3.npy",
    "image": "MicroLens-100k_image_features_CLIPRN50.npy",
    "video": "MicroLens-100k_video_features_VideoMAE.npy",
}
GENRES = ("Action", "Comedy", "Drama", "Thriller")


def publish(own_data: OwnData) -> None:
    """Put all that the profile ``gpu`` reads into a cache of the test's own."""
    own_data.files("kuairand_1k", {"KuaiRand-1K.tar.gz": kuairand("1K", users=40, videos=90)})
    own_data.files("kuairand_pure", {"KuaiRand-Pure.tar.gz": kuairand("Pure", users=50, videos=30)})
    own_data.files("ml_100k", dict(zip(
        ("ml-100k.inter", "ml-100k.item", "ml-100k.user"), movielens(users=66, films=120),
        strict=True,
    )))  # fmt: skip
    for shop in ("ader_yoochoose", "ader_diginetica"):
        own_data.files(shop, {f"period_{n}.txt": part for n, part in enumerate(sessions())})
    microlens(own_data.cache / "microlens_100k", users=60, videos=50)
    encoder = sentence_encoder(own_data.cache / "encoder")
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    own_data.files("minilm_l6", {name: encoder / name for name in names})


def kuairand(size: str, users: int, videos: int) -> bytes:
    """Return an archive of KuaiRand: two standard logs, the random one, and the videos.

    Half of the videos are bait, which is clicked and not watched. The random log overlaps the
    second standard log, and a video is shown from its day of upload on.
    """
    rng = np.random.default_rng(0)
    uploaded = rng.integers(-20, 10, videos)  # days after the first of the log
    length = rng.integers(4_000, 90_000, videos)
    logs: dict[str, list[str]] = {"4_08_to_4_21": [], "4_22_to_5_08": [], "random": []}
    for user in range(users):
        taste = rng.dirichlet(np.full(videos, 0.3))
        for day in range(DAYS):
            shown = taste * (uploaded <= day)
            for turn in range(6):
                random = day >= RANDOM_FROM and turn % 3 == 2
                video = int(
                    rng.choice(np.flatnonzero(uploaded <= day))
                    if random
                    else rng.choice(videos, p=shown / shown.sum())
                )
                at = FIRST_DAY + DAY * day + 3_600_000 * (6 + turn) + 60_000 * user + video
                click = rng.random() < (0.7 if video % 2 else 0.4)
                long = click and not video % 2
                played = length[video] + 20_000 if long else 8_000 * click
                signs = [click, long and rng.random() < 0.4, 0, 0, 0,
                         video % 2 and rng.random() < 0.1, long]  # fmt: skip
                row = [user, 100 + video, 20220408 + day, 100 * (6 + turn), at, *map(int, signs),
                       int(played), int(length[video]), 0, 0, 0, int(random), 1]  # fmt: skip
                period = "4_08_to_4_21" if day < RANDOM_FROM else "4_22_to_5_08"
                logs["random" if random else period].append(",".join(map(str, row)) + "\n")
    about = [
        f"{100 + video},{video % 7},{'AD' if video == 3 else 'NORMAL'},"
        f"{np.datetime64('2022-04-08') + uploaded[video]},LongImport,0.0,{length[video]}.0,720.0,"
        f"1280.0,91556,9.0,{('', '39', chr(34) + '12,65' + chr(34), '8')[video % 4]}\n"
        for video in range(videos)
    ]
    name = size.lower()
    files = {
        f"log_standard_4_08_to_4_21_{name}.csv": [KUAIRAND_LOG, *logs["4_08_to_4_21"]],
        f"log_standard_4_22_to_5_08_{name}.csv": [KUAIRAND_LOG, *logs["4_22_to_5_08"]],
        f"log_random_4_22_to_5_08_{name}.csv": [KUAIRAND_LOG, *logs["random"]],
        f"video_features_basic_{name}.csv": [KUAIRAND_VIDEOS, *about],
        f"user_features_{name}.csv": ["user_id\n"],  # not read
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file, lines in files.items():
            content = "".join(lines).encode()
            member = tarfile.TarInfo(f"KuaiRand-{size}/data/{file}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), mtime=0)


def movielens(users: int, films: int) -> Iterator[bytes]:
    """Yield RecBole's atomic files of MovieLens-100K: ratings, films, users."""
    rng = np.random.default_rng(1)
    ratings = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\n"]
    for user in range(1, users + 1):
        seen = rng.permutation(films)[:40]
        stars = rng.integers(1, 6, len(seen))
        start = 874_724_710 + 3 * 86_400 * user  # 215 days, as the log has
        for place, (film, star) in enumerate(zip(seen, stars, strict=True)):
            at = start + 86_400 * (place // 3) + place % 2
            ratings.append(f"{user}\t{film + 1}\t{star}\t{at}\n")
    titles = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n",
              "1\tToy Story\t1995\tAnimation Children's Comedy\n"]  # fmt: skip
    for film in range(1, films):
        kinds = " ".join(sorted({GENRES[film % 4], GENRES[film % 3]}))
        titles.append(f"{film + 1}\tFilm number {film}, The\t{1950 + film % 50}\t{kinds}\n")
    people = ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"]
    for lines in (ratings, titles, people):
        yield "".join(lines).encode()


def sessions() -> Iterator[bytes]:
    """Yield ADER's 17 periods: a session and an item a line, new items in every period."""
    rng = np.random.default_rng(2)
    for period in range(17):
        rows = []
        for session in range(20):
            start = rng.integers(20 + 2 * period)
            rows += [(1000 * period + session, (start + step) % 60 + 1) for step in range(4)]
        yield "".join(f"{session} {item}\n" for session, item in rows).encode()


def microlens(folder: Path, users: int, videos: int) -> None:
    """Write MicroLens-100K's comments, titles, categories and released vectors."""
    rng = np.random.default_rng(3)
    kind = np.arange(videos) % 5
    pairs = ["user,item,timestamp\n"]
    for user in range(1, users + 1):
        likely = np.where(kind == user % 5, 6.0, 1.0)
        for place, video in enumerate(
            rng.choice(videos, 12, replace=False, p=likely / likely.sum())
        ):
            at = 1_583_378_629_552 + DAY * (user + 3 * place) + 977 * place
            pairs.append(f"{user},{video + 1},{at}\n")
    folder.mkdir(parents=True)
    (folder / "MicroLens-100k_pairs.csv").write_text("".join(pairs))
    (folder / "MicroLens-100k_title_en.csv").write_text(
        "".join(f'{video + 1},Video "{video}", of kind {kind[video]}\n' for video in range(videos))
    )
    (folder / "tags_to_summary.csv").write_text(
        "".join(f"{video + 1},kind {kind[video]}\n" for video in range(videos))
    )
    for modality, width in MODALITIES.items():
        centers = rng.standard_normal((5, width))
        vectors = centers[kind] + 0.3 * rng.standard_normal((videos, width))
        np.save(folder / FEATURE_FILES[modality], vectors.astype(np.float32))


def sentence_encoder(folder: Path) -> Path:
    """Save a BERT of one layer and its tokenizer, as transformers save them; return the folder."""
    told = [f"The Film number {film} ({1950 + film}). Genres: {', '.join(GENRES)}"
            for film in range(50)]  # fmt: skip
    # No trainer: it breaks ties at random.
    known = {word for text in told for word, _ in BertPreTokenizer().pre_tokenize_str(text)}
    letters = {letter for word in known for letter in word}
    pieces = sorted(known | letters | {f"##{letter}" for letter in letters})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]
    words = Tokenizer(
        WordPiece({piece: at for at, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    )
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        BertModel(config).save_pretrained(folder)
    return folder
