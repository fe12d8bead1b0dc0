"""The four profiles of the chapter."""

from __future__ import annotations

from okml.profile import Budget, by_name
from okml.seqrec.losses import SampledSoftmaxSettings
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.goals import (
    ConstrainedSettings,
    GoalsSettings,
    PolicyNetworkSettings,
    RankerSettings,
    ReinforceSettings,
    TrafficSettings,
    VideoSimSettings,
)
from okml.video_workshop.settings.items import (
    ItemsSettings,
    LeaveOneOutSettings,
    RQVAESettings,
)
from okml.video_workshop.settings.stream import (
    ChoiceSettings,
    LaunchSettings,
    SessionSettings,
    ShockSettings,
    StrategyName,
    StrategySettings,
    StreamSettings,
    StreamTrainingSettings,
    WeeklySettings,
)
from okml.video_workshop.settings.users import (
    DownstreamSettings,
    LossWeights,
    MultiTaskHeadSettings,
    UserModelSettings,
    UserPretrainingSettings,
    UsersSettings,
)

# SASRec of the last-item experiment in the small profiles.
LAST_ITEM_MODEL = UserModelSettings(
    length=20, width=32, layers=1, heads=1, dropout=0.1, actions=False, requests=False
)

# Each further softmax would cost as much as the backbone in the small profiles.
ONE_SOFTMAX = LossWeights(multi=0)

SMOKE = VideoWorkshopProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    data=WatchLogSettings(users=300, text="tfidf"),
    items=ItemsSettings(
        once=("content",),
        codes=32,
        components=32,
        prefix_codes=16,
        rqvae=RQVAESettings(hidden=(64,), latent=16, batch=256, steps=50),
        hidden=32,
        warm_targets=500,
        model=UserModelSettings(length=20, width=32, layers=1, heads=1, dropout=0.1),
        epochs=2,
        learning_rate=3e-3,
        leave_one_out=LeaveOneOutSettings(
            model=LAST_ITEM_MODEL, epochs=2, batch=32, learning_rate=1e-2
        ),
    ),
    users=UsersSettings(
        base=UserModelSettings(length=20, width=32, layers=1),
        smaller=UserModelSettings(length=20, width=16, layers=1),
        pretraining=UserPretrainingSettings(
            steps=30, batch=32, learning_rate=3e-3, weights=ONE_SOFTMAX
        ),
        downstream=DownstreamSettings(
            steps=12, steps_all_labels=12, evaluate_every=4, learning_rate=3e-3
        ),
        ablations=("item_alone",),
        test_rows=5,
        valid_users=100,
    ),
    goals=GoalsSettings(
        simulator=VideoSimSettings(recent=8, log_days=2, outcome_days=4, days=5),
        ranker=RankerSettings(epochs=2, batch=128, heads=MultiTaskHeadSettings(expert_width=16)),
        held_out_days=1,
        click_models=("popularity", "mlp", "transformer"),
        oracle_worlds=2,
        reinforce=ReinforceSettings(network=PolicyNetworkSettings(epochs=2, batch=256, days=3)),
        constrained=ConstrainedSettings(
            network=PolicyNetworkSettings(epochs=2, batch=128, days=3),
            log_days=2,
            critic_epochs=1,
            multipliers=(0.1,),
        ),
        traffic=TrafficSettings(
            days=4, train_days=2, test_from=3, click_models=("mlp",), best_share=0.3
        ),
    ),
    stream=StreamSettings(
        weekly=WeeklySettings(
            training=StreamTrainingSettings(
                model=UserModelSettings(length=20, width=16, layers=1, heads=1),
                learning_rate=1e-2,
                base_epochs=2,
                update_epochs=2,
            ),
            first=27,
            choice=ChoiceSettings(rates=(0.3, 0.1), periods=2),
            rows=100,
            launches=LaunchSettings(least_events=10, first=27, last=29),
            shock=ShockSettings(period=29),
            arms=("stale", "incremental", "rehearsal", "retrain"),
            more_arms=(),
            strategies=StrategySettings(retrain_every=2, exemplars=200),
            tables=("hybrid_content", "hybrid_shuffled"),
            shards=(2.0,),
        ),
    ),
)

MORE_SESSION_ARMS: tuple[StrategyName, ...] = (  # they tell what updates lack
    "replay", "repeat", "distillation_all",
)  # fmt: skip
OLD_SESSIONS = 6.0  # that replay reads for each new one

SESSION_TRAINING = StreamTrainingSettings(
    model=UserModelSettings(length=10, width=32, layers=1, heads=1, dropout=0.3),
    batch=32,
    update_batch=32,
    learning_rate=2e-3,
    base_epochs=12,
    update_epochs=12,  # those of the base, as in ADER
)


# An item of the parts has about one click a period, nearly as many as one of the full log. With one
# in seven periods no update improves on the base by much, at any rate.
def _few_sessions(items: int, sessions: int, periods: int) -> SessionSettings:
    return SessionSettings(
        log="ader_diginetica",
        items=items,
        sessions=sessions,
        periods=periods,
        rows=600,
        training=SESSION_TRAINING,
        more_arms=MORE_SESSION_ARMS,
        strategies=StrategySettings(retrain_every=1, exemplars=sessions, replay_ratio=OLD_SESSIONS),
    )


# What `cpu` and `night` share.
BASE_MODEL = UserModelSettings(width=48)
SMALLER_MODEL = UserModelSettings(width=24, layers=1)
WEEKLY_MODEL = UserModelSettings(length=30, width=32, layers=1, heads=1)
WEEKLY_ARMS: tuple[StrategyName, ...] = ("stale", "incremental", "rehearsal")


def _last_items(epochs: int, batch: int, patience: int) -> LeaveOneOutSettings:
    return LeaveOneOutSettings(
        arms=("id", "both", "noise"),
        once=("content",),
        model=LAST_ITEM_MODEL,
        epochs=epochs,
        patience=patience,
        batch=batch,
        learning_rate=5e-3,
    )


CPU = VideoWorkshopProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2),
    items=ItemsSettings(
        once=("content",),
        rqvae=RQVAESettings(hidden=(128,), batch=256, steps=400),
        hidden=64,
        warm_targets=4000,
        model=UserModelSettings(width=32, layers=1, dropout=0.1),
        epochs=6,
        batch=32,
        learning_rate=2e-3,
        leave_one_out=_last_items(epochs=4, batch=32, patience=6),
    ),
    users=UsersSettings(
        base=BASE_MODEL,
        smaller=SMALLER_MODEL,
        pretraining=UserPretrainingSettings(
            steps=160,
            batch=32,
            learning_rate=5e-3,
            warmup_steps=20,
            weights=ONE_SOFTMAX,
        ),
        downstream=DownstreamSettings(steps=80, steps_all_labels=0, patience=4, learning_rate=2e-3),
        ablations=("shuffled", "item_alone"),  # what else is compared is too close for this scale
        valid_users=150,
    ),
    goals=GoalsSettings(
        simulator=VideoSimSettings(recent=10, days=22),
        ranker=RankerSettings(heads=MultiTaskHeadSettings(expert_width=16), epochs=2, batch=256),
        oracle_worlds=3,
        reinforce=ReinforceSettings(network=PolicyNetworkSettings(epochs=2, days=7)),
        constrained=ConstrainedSettings(
            network=PolicyNetworkSettings(epochs=2, days=7), multipliers=(1.0, 0.1)
        ),
    ),
    stream=StreamSettings(
        weekly=WeeklySettings(
            training=StreamTrainingSettings(
                model=WEEKLY_MODEL,
                learning_rate=2e-3,
                base_epochs=8,
            ),
            arms=WEEKLY_ARMS,
            more_arms=("retrain",),
            tables=("hybrid_content", "hybrid_shuffled"),
        ),
        sessions=(_few_sessions(items=1_500, sessions=500, periods=4),),
    ),
)

# MovieLens-1M with more seeds. The worlds of the simulator stay small; there are more of them, and
# their logs are longer, for the transformer of clicks and for weights of rare actions.
NIGHT = VideoWorkshopProfile(
    name="night",
    budget=Budget(minutes=90, memory_gib=12, disk_gib=2),
    seeds=(0, 1, 2, 3),
    data=WatchLogSettings(log="ml_1m"),
    items=ItemsSettings(
        once=("content",),
        codes=128,
        prefix_codes=64,
        hidden=64,
        warm_targets=20_000,
        model=UserModelSettings(width=32, layers=1, dropout=0.1),
        epochs=2,
        learning_rate=2e-3,
        leave_one_out=_last_items(epochs=11, batch=64, patience=3),
    ),
    users=UsersSettings(
        base=BASE_MODEL,
        smaller=SMALLER_MODEL,
        pretraining=UserPretrainingSettings(
            steps=600,
            batch=32,
            learning_rate=3e-3,
            warmup_steps=50,
            weights=ONE_SOFTMAX,
        ),
        downstream=DownstreamSettings(
            steps=150, steps_all_labels=300, evaluate_every=30, learning_rate=2e-3
        ),
        ablations=(
            "shuffled",
            "item_alone",
            "intents",
            "intents_free",
            "content",
            "content_sum",
            "semantic_ids",
        ),
        valid_users=200,
    ),
    world_data=WatchLogSettings(),  # the worlds are made of MovieLens-100K
    goals=CPU.override(
        {
            "goals.worlds": 8,
            "goals.oracle_worlds": 8,
            # With logs of 20 days a transformer of clicks is behind the MLP, with 60 ahead of it.
            "goals.simulator.log_days": 60,
            "goals.simulator.outcome_days": 60,
            "goals.ranker.epochs": 2,
            "goals.constrained.multipliers": (1.0, 0.1, 0.01),
        }
    ).goals,
    stream=StreamSettings(
        weekly=WeeklySettings(
            training=StreamTrainingSettings(
                model=WEEKLY_MODEL,
                learning_rate=2e-3,
                base_epochs=3,
                update_epochs=2,
            ),
            days=14.0,
            first=16,  # four fifths of the events come before
            choice=ChoiceSettings(users=0.1),
            launches=LaunchSettings(first=16, last=20),  # later periods have few events
            shock=ShockSettings(period=24),
            arms=WEEKLY_ARMS,
            more_arms=("replay",),
            tables=("hybrid_content", "hybrid_shuffled"),
        ),
        sessions=(_few_sessions(items=400, sessions=200, periods=17),),  # all of its periods
    ),
)

# ADER's settings: width 150, 2 blocks, 1 head, 50 clicks, dropout 0.3, Adam 5e-4; 10 epochs replace
# its up to 100 with early stopping.
ADER_TRAINING = StreamTrainingSettings(
    model=UserModelSettings(length=50, width=150, layers=2, heads=1, dropout=0.3),
    batch=256,
    update_batch=256,
    learning_rate=5e-4,
    betas=(0.9, 0.999),
    weight_decay=0.0,
    base_epochs=10,
    update_epochs=10,
)

SESSION_RATES = (3.0, 1.0, 0.3, 0.1)

GPU = VideoWorkshopProfile(
    name="gpu",
    # The plan has 44 hours, three of them for rankings of all requests among at most 820,000
    # videos. It does not count what small trainings write, or what compiling them takes.
    budget=Budget(minutes=44 * 60, memory_gib=64, disk_gib=1_000, gpu_memory_gib=80),
    seeds=(0, 1, 2),
    # The impressions of 1,000 users in a month. The row of a video with fewer than ten impressions
    # cannot be trained, so a video joins the catalog with its tenth impression. A filter by the
    # impressions of the whole month would leak the future.
    data=WatchLogSettings(log="kuairand_1k", least_item_events=10, text="tfidf"),
    # The only public videos with released text, image and video vectors and a strong baseline.
    cold_data=WatchLogSettings(log="microlens_100k", features=("text", "image", "video")),
    items=ItemsSettings(
        arms=(
            "id",
            "hash",
            "random_codes",
            "content",
            "sid_unigram",
            "sid_prefix",
            "sid_rqvae",
            "hybrid_sid",
            "hybrid_content",
            "hybrid_gate",
            "hybrid_played",
            "hybrid_naive",
        ),
        once=(),
        codes=256,
        components=256,
        prefix_codes=256,
        rqvae=RQVAESettings(steps=20_000),
        hidden=512,
        model=UserModelSettings(length=20, width=256, layers=6, heads=8, dropout=0.1),
        epochs=50,
        batch=512,
        learning_rate=3e-4,
        # The scripts' settings; the published table's frozen content is the video's.
        leave_one_out=LeaveOneOutSettings(features=("video",)),
    ),
    users=UsersSettings(
        base=UserModelSettings(length=512, width=512, layers=12, heads=8, dropout=0.1),
        smaller=UserModelSettings(length=512, width=256, layers=6, heads=8, dropout=0.1),
        # A new video has no row yet; its tags, from which the vector comes until then, it has.
        table="hybrid_content",
        pretraining=UserPretrainingSettings(
            steps=2_500,  # 64 windows of 512 events each: 11 epochs or more of filtered data
            batch=64,
            learning_rate=3e-4,
            warmup_steps=400,
            loss=SampledSoftmaxSettings(negatives=8_192, alpha=0.5),
        ),
        downstream=DownstreamSettings(
            steps=1_000,
            steps_all_labels=2_000,
            evaluate_every=125,
            batch=64,
            learning_rate=3e-4,
        ),
        ranked=("click", "long_view", "like"),
        ablations=(
            "shuffled",
            "item_alone",
            "intents",
            "intents_free",
            "content_sum",
            "semantic_ids",
            "rows",
        ),
        test_rows=50,
        valid_rows=10,
    ),
    world_data=WatchLogSettings(),  # the simulator is made of MovieLens-100K
    # All impressions of 7,583 videos by 27,285 users, about half of them random.
    traffic_data=WatchLogSettings(log="kuairand_pure", text="tfidf"),
    goals=GoalsSettings(
        # A log ten times as long, for wider networks and rare responses.
        simulator=VideoSimSettings(log_days=100, outcome_days=140, recent=50, days=60),
        ranker=RankerSettings(
            width=64,
            layers=2,
            heads=MultiTaskHeadSettings(experts=8, expert_width=256, tower_width=128),
            epochs=5,
            batch=4096,
            learning_rate=2e-3,
        ),
        held_out_days=10,
        click_models=("popularity", "regression", "two_tower", "mlp", "mmoe", "transformer"),
        several_goals=("mmoe", "transformer"),
        worlds=6,
        oracle_worlds=20,
        reinforce=ReinforceSettings(
            network=PolicyNetworkSettings(width=64, epochs=5, batch=2048, days=30)
        ),
        constrained=ConstrainedSettings(
            network=PolicyNetworkSettings(width=64, epochs=5, batch=2048, days=30),
            log_days=100,
            gamma=0.99,
            critic_epochs=10,
            critic_learning_rate=1e-3,
            target_rate=0.005,
            multipliers=(10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4),
        ),
        # Training on 8-21 April, evaluation on 25 April - 8 May; random slots begin on 22 April.
        traffic=TrafficSettings(
            train_days=14,
            test_from=17,
            click_models=("two_tower", "mlp", "mmoe", "transformer"),
            several_goals=("mmoe", "mlp", "transformer"),
            best_share=0.1,
        ),
    ),
    stream=StreamSettings(
        weekly=WeeklySettings(
            training=StreamTrainingSettings(
                model=UserModelSettings(length=200, width=256, layers=6, heads=8, dropout=0.1),
                loss=SampledSoftmaxSettings(negatives=8_192, alpha=0.5),
                # Two weeks are 26,000 windows or fewer: batches of 512 would leave a base of three
                # epochs at 150 steps, and every comparison with it would be one of steps.
                batch=64,
                update_batch=64,
                learning_rate=1e-3,
                base_epochs=10,
                update_epochs=1,
            ),
            days=1.0,  # KuaiRand: two weeks of standard traffic, then 17 days
            rows=20_000,
            arms=("stale", "incremental", "replay", "distillation", "rehearsal", "retrain"),
            strategies=StrategySettings(retrain_every=1, exemplars=30_000),
            tables=("hybrid_content", "hybrid_sid", "content", "hybrid_shuffled"),
            shards=(0.25, 4.0, 24.0),
        ),
        sessions=(
            SessionSettings(
                log="ader_diginetica",
                training=ADER_TRAINING,
                rates=SESSION_RATES,
                more_arms=MORE_SESSION_ARMS,
                strategies=StrategySettings(
                    retrain_every=1, exemplars=30_000, replay_ratio=OLD_SESSIONS
                ),
            ),
            SessionSettings(
                log="ader_yoochoose",
                training=ADER_TRAINING.model_copy(update={"batch": 512, "update_batch": 512}),
                rates=SESSION_RATES,
                more_arms=MORE_SESSION_ARMS,
                strategies=StrategySettings(
                    retrain_every=1,
                    exemplars=30_000,
                    distillation_base=1.0,
                    replay_ratio=OLD_SESSIONS,
                ),
            ),
        ),
    ),
    mixed_precision="bf16",
    compile=True,
)

PROFILES = by_name(SMOKE, CPU, NIGHT, GPU)
