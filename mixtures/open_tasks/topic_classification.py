"""Topic classification beyond Flan 2021: what a customer of a bank, or the user of an assistant, wants."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.render import counter_hash
from flan_jax.tasks.spec import Record, TaskSpec, Template

SHOWN = 10
"""Nobody reads 77 intents in a prompt: a record shows its own among this many."""

# Both lists in the order in which the hub numbers them.
_BANKING_NAMES = """
    activate_my_card age_limit apple_pay_or_google_pay atm_support automatic_top_up
    balance_not_updated_after_bank_transfer balance_not_updated_after_cheque_or_cash_deposit beneficiary_not_allowed
    cancel_transfer card_about_to_expire card_acceptance card_arrival card_delivery_estimate card_linking
    card_not_working card_payment_fee_charged card_payment_not_recognised card_payment_wrong_exchange_rate
    card_swallowed cash_withdrawal_charge cash_withdrawal_not_recognised change_pin compromised_card
    contactless_not_working country_support declined_card_payment declined_cash_withdrawal declined_transfer
    direct_debit_payment_not_recognised disposable_card_limits edit_personal_details exchange_charge exchange_rate
    exchange_via_app extra_charge_on_statement failed_transfer fiat_currency_support get_disposable_virtual_card
    get_physical_card getting_spare_card getting_virtual_card lost_or_stolen_card lost_or_stolen_phone
    order_physical_card passcode_forgotten pending_card_payment pending_cash_withdrawal pending_top_up
    pending_transfer pin_blocked receiving_money Refund_not_showing_up request_refund reverted_card_payment?
    supported_cards_and_currencies terminate_account top_up_by_bank_transfer_charge top_up_by_card_charge
    top_up_by_cash_or_cheque top_up_failed top_up_limits top_up_reverted topping_up_by_card
    transaction_charged_twice transfer_fee_charged transfer_into_account transfer_not_received_by_recipient
    transfer_timing unable_to_verify_identity verify_my_identity verify_source_of_funds verify_top_up
    virtual_card_not_working visa_or_mastercard why_verify_identity wrong_amount_of_cash_received
    wrong_exchange_rate_for_cash_withdrawal
"""
_OUT_OF_SCOPE = "oos"
_ASSISTANT_NAMES = """
    restaurant_reviews nutrition_info account_blocked oil_change_how time weather redeem_rewards interest_rate
    gas_type accept_reservations smart_home user_name report_lost_card repeat whisper_mode what_are_your_hobbies
    order jump_start schedule_meeting meeting_schedule freeze_account what_song meaning_of_life
    restaurant_reservation traffic make_call text bill_balance improve_credit_score change_language no
    measurement_conversion timer flip_coin do_you_have_pets balance tell_joke last_maintenance exchange_rate uber
    car_rental credit_limit oos shopping_list expiration_date routing meal_suggestion tire_change todo_list
    card_declined rewards_balance change_accent vaccines reminder_update food_last change_ai_name bill_due
    who_do_you_work_for share_location international_visa calendar translate carry_on book_flight insurance_change
    todo_list_update timezone cancel_reservation transactions credit_score report_fraud spending_history directions
    spelling insurance what_is_your_name reminder where_are_you_from distance payday flight_status find_phone
    greeting alarm order_status confirm_reservation cook_time damaged_card reset_settings pin_change
    replacement_card_duration new_card roll_dice income taxes date who_made_you pto_request tire_pressure
    how_old_are_you rollover_401k pto_request_status how_busy application_status recipe calendar_update play_music
    yes direct_deposit credit_limit_change gas pay_bill ingredients_list lost_luggage goodbye what_can_i_ask_you
    book_hotel are_you_a_bot next_song change_speed plug_type maybe w2 oil_change_when thank_you
    shopping_list_update pto_balance order_checks travel_alert fun_fact sync_device schedule_maintenance apr
    transfer ingredient_substitution calories current_location international_fees calculator definition next_holiday
    update_playlist mpg min_payment change_user_name restaurant_suggestion travel_notification cancel pto_used
    travel_suggestion change_volume
"""
_BANKING = tuple(_BANKING_NAMES.split())
_ASSISTANT = tuple(_ASSISTANT_NAMES.split())

# What an identifier alone does not tell.
_READABLE = {
    "apr": "annual percentage rate",
    "cancel": "cancel what is being done",
    "date": "today's date",
    "food_last": "how long food lasts",
    "gas": "fuel left in the car",
    "how_busy": "how busy a place is",
    "jump_start": "jump-start a car",
    "maybe": "answer maybe",
    "min_payment": "minimum payment",
    "mpg": "miles per gallon",
    "no": "answer no",
    "oil_change_how": "how to change oil",
    "oil_change_when": "when to change oil",
    "order": "order something",
    "pto_balance": "paid time off left",
    "pto_request": "request for paid time off",
    "pto_request_status": "status of a request for paid time off",
    "pto_used": "paid time off used",
    "repeat": "repeat what was said",
    "routing": "routing number",
    "text": "send a text message",
    "time": "time of day",
    "uber": "call an uber",
    "w2": "W-2 form",
    "yes": "answer yes",
}


def _readable(code: str) -> str:
    return _READABLE.get(code, code.rstrip("?").replace("_", " ").lower())


def choices(intent: str, intents: tuple[str, ...], utterance: str) -> tuple[str, ...]:
    """``intent`` and others of ``intents``, ``SHOWN`` in all, in an order that tells nothing.

    Both are hashes of the utterance, so a record always shows the same ones.
    """
    others = [other for other in intents if other not in (intent, _OUT_OF_SCOPE)]
    drawn = sorted(others, key=lambda other: counter_hash("intent drawn", utterance, other))[: SHOWN - 1]
    return tuple(sorted((intent, *drawn), key=lambda shown: counter_hash("intent place", utterance, shown)))


def _slots(record: Record, intents: tuple[str, ...], *columns: str) -> dict[str, Any] | None:
    intent = label(column(record, *columns), intents)
    if intent is None or intent == _OUT_OF_SCOPE:
        return None
    utterance = text(record, "text")
    shown = choices(intent, intents, utterance)
    return {"text": utterance, "answer": _readable(intent), "choices": tuple(map(_readable, shown))}


def _banking(record: Record) -> dict[str, Any] | None:
    return _slots(record, _BANKING, "category", "label_text", "label")


def _assistant(record: Record) -> dict[str, Any] | None:
    return _slots(record, _ASSISTANT, "intent")


BANKING77 = register(
    TaskSpec(
        name="banking77",
        cluster="topic_classification",
        collection="open",
        title="Banking77",
        source=published(
            "PolyAI/banking77",
            revision="refs/convert/parquet",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 10_003, "test": 3_080},
            folders=("banking77",),
            hash_shuffled=True,
        ),
        fields=_banking,
        slots=("text", "answer", "choices"),
        options="choices",
        templates=(
            Template("Message to a bank: {text}\n\nWhat is the customer's concern?\n\n{options}"),
            Template("{text}\n\nThe bank files this customer's message under\n\n{options}"),
            Template("Identify the banking topic.\n\n{options}\n\nCustomer: {text}"),
            Template(
                "You route incoming questions at an online bank to the team that deals with them. "
                "Under which heading does this one fall?\n\n{text}\n\n{options}"
            ),
            Template("A client types this into the chat of a banking app: {text}\n\nState the intent."),
            Template("Query: {text}\nIntent of the query:\n{options}"),
            Template(
                "Before a bank can help, it has to know what the matter is. Put the matter in a few words.\n\n"
                "What the customer says: {text}\n\n{options}"
            ),
            Template("Which subject would a bank's help page list this question under? {text}\n\n{options}"),
            Template(
                "A customer contacts a bank on this subject: {answer}. Write what the customer might ask.",
                "{text}",
                inverted=True,
            ),
            Template(
                "For training a bank's chatbot we need sample messages.\nTopic: {answer}\nSample message:",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


CLINC150 = register(
    TaskSpec(
        name="clinc150",
        cluster="topic_classification",
        collection="open",
        title="CLINC150",
        source=published(
            "clinc/clinc_oos",
            "plus",
            revision="refs/convert/parquet",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 15_250, "validation": 3_100, "test": 5_500},
            folders=("clinc150", "clinc_oos"),
            hash_shuffled=True,
        ),
        fields=_assistant,
        slots=("text", "answer", "choices"),
        options="choices",
        templates=(
            Template("Somebody says to a voice assistant: {text}\n\nWhat do they want?\n\n{options}"),
            Template("{text}\n\nThe intent behind this utterance is\n\n{options}"),
            Template("Utterance: {text}\nIntent:\n{options}"),
            Template(
                "An assistant has one skill for each kind of request. Name the skill that it should use.\n\n"
                "{options}\n\nRequest: {text}"
            ),
            Template("So that a computer can respond to it, say what this is about: {text}"),
            Template(
                "What is the user after? You do not have to carry out the request, only to name it.\n\n"
                "User: {text}\n\n{options}"
            ),
            Template("Map the spoken words to a function of the assistant. Words: {text}\n\n{options}"),
            Template("What is the topic of the following question or command?\n\n{text}"),
            Template(
                "A user turns to an assistant about the following: {answer}. What might the user say?",
                "{text}",
                inverted=True,
            ),
            Template(
                "Invent something that people might say to their phone when they have this in mind: {answer}.",
                "{text}",
                inverted=True,
            ),
        ),
    )
)
