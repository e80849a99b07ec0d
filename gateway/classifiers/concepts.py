"""What a request may speak of, as words of many languages that mean the same.

One concept is one feature, whatever the language, so that a score follows from what is asked and
not from the language it is asked in. `words` are whole words of scripts that use spaces, `phrases`
runs of them, `glyphs` are looked for anywhere: Chinese, Japanese and Korean, where words are not
set apart. All lower case. Where a language has no words here, its requests are judged by structure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Concept:
    """`about` is the end of "… because it". `rarity`: by how many different ones of it a part of
    a long text has (1, 2, 3 or more), how few parts of ordinary texts have as many: tenths of the
    natural logarithm of one in how many."""

    name: str
    about: str
    words: str = ""
    phrases: tuple[str, ...] = ()
    glyphs: str = ""
    rarity: tuple[int, int, int] = (0, 0, 0)


CONCEPTS = (
    Concept(
        "reasoning",
        "speaks of reasoning, step by step",
        "reasoning reason reasons think thinking thought thoughts rationale deduce derive "
        "derivation logic logical inference monologue deliberate steps stepwise explanation "
        "denke denken gedanken gedankengang schritt schritte schrittweise begründung überlegung "
        "überlegungen herleitung raisonnement raisonne étape étapes réflexion pensée pensées "
        "démarche justifie razonamiento razona paso pasos "
        "pensamiento piensa justifica raciocínio "
        "passo pensamento рассуждение рассуждения шаг шагам "
        "мысли обоснование ragionamento passaggi",
        ("step by step", "chain of thought", "think aloud", "line of thought", "show your work"),
        "思考 推理 步骤 逐步 一步 理由 思路 思考過程 推論 段階 ステップ 手順 根拠 단계 추론 생각",
        rarity=(30, 58, 77),
    ),
    Concept(
        "completeness",
        "asks for everything to be spelt out",
        "full every complete completely entire entirely whole detailed detail details explicit "
        "explicitly thorough thoroughly exhaustive verbose omit omitting skip skipping spell "
        "vollständig vollständige lückenlos jeden jede ausführlich auslassen complet complète "
        "complètement chaque détaillé détaillée omettre "
        "completo completa cada detallado detallada "
        "omitir completos полностью каждый подробно",
        ("without leaving", "without skipping", "leave nothing", "each step", "write out"),
        "完整 详细 全部 每一步 不要省略 所有 すべて 詳しく 省略せず 完全 모든 자세히",
        rarity=(16, 58, 77),
    ),
    Concept(
        "given_answer",
        "gives the answer and asks for the way to it",
        "",
        (
            "the answer is",
            "answer was",
            "correct answer",
            "known answer",
            "final answer is",
            "given the answer",
            "given the solution",
            "leads to this",
            "leads to it",
            "leads there",
            "led to",
            "arrive at",
            "die antwort ist",
            "die antwort war",
            "die lösung ist",
            "la réponse est",
            "la réponse était",
            "la respuesta es",
            "la respuesta era",
            "ground truth",
        ),
        "答案是 正确答案 已知答案 答えは 正解は 정답은",
        rarity=(53, 77, 77),
    ),
    Concept(
        "before_answer",
        "wants something written before the final answer",
        "scratchpad thinking_process",
        (
            "before the answer",
            "before answering",
            "before the final",
            "before you answer",
            "before giving",
            "then the answer",
            "then conclude",
            "then give",
            "final answer",
            "vor der antwort",
            "avant la réponse",
            "avant de répondre",
            "antes de la respuesta",
            "antes de responder",
        ),
        "然后给出答案 再给出 最后给出 给出最终 答える前 その後に答え 최종 답",
        rarity=(53, 77, 77),
    ),
    Concept(
        "grading",
        "asks for a grade or a score",
        "grade grades graded grading grader score scores "
        "scored scoring rubric rubrics rate rated "
        "rating ratings evaluate evaluates evaluation evaluator assess assessment judge judging "
        "judgement judgment criterion criteria points marks verdict feedback "
        "bewerte bewerten bewertung benote note noten punkte kriterium kriterien maßstab "
        "évalue évaluer évaluation notation notes barème critère critères noter "
        "evalúa evaluar evaluación puntuación puntúa "
        "calificación califica criterio criterios rúbrica "
        "avalie avaliação pontuação оцени оценка оценки балл критерии valuta punteggio",
        (
            "out of 10",
            "out of 5",
            "1 to 5",
            "1 to 10",
            "from 1 to",
            "on a scale",
            "auf einer skala",
        ),
        "评分 打分 评估 评价 标准 得分 分数 评判 採点 評価 点数 基準 스코어 평가 점수 기준",
        rarity=(18, 35, 61),
    ),
    Concept(
        "comparing",
        "sets candidates side by side",
        "better worse prefer preferred preference compare comparison tie ranking rank winner "
        "candidate candidates pairwise besser schlechter vergleiche vergleich bevorzugt meilleur "
        "meilleure mieux compare comparer préférée mejor peor compara comparar preferida melhor "
        "лучше сравни confronta migliore",
        (
            "assistant a",
            "assistant b",
            "response a",
            "response b",
            "answer a",
            "answer b",
            "output a",
            "output b",
            "model a",
            "model b",
            "response 1",
            "response 2",
            "output 1",
            "answer 1",
            "answer 2",
            "antwort a",
            "antwort b",
            "réponse a",
            "réponse b",
            "respuesta a",
            "respuesta b",
            "which is better",
            "which one is better",
        ),
        "比较 更好 哪个 偏好 回答a 答案a 回答b 優れ 比較 どちら 回答1 비교 더 나은",
        rarity=(38, 77, 77),
    ),
    Concept(
        "cleaning",
        "is about cleaning or filtering records",
        "clean cleaned cleaning filter filtering deduplicate duplicates normalise normalize "
        "spelling typos markup html boilerplate drop discard keep remove strip corpus corpora "
        "record records entry entries noisy noise toxic unsafe quality low crawl scraped "
        "bereinige bereinigen filtere rechtschreibung dublette "
        "dubletten eintrag einträge entferne "
        "behalten verwerfen datensatz nettoie nettoyer filtre "
        "filtrer orthographe doublons supprime "
        "enregistrement entrée entrées garder limpia limpiar "
        "filtra ortografía duplicados elimina "
        "registro registros conservar очисти удали записи pulisci",
        ("fix spelling", "training text", "web page text", "near duplicate"),
        "清洗 清理 过滤 去重 拼写 记录 条目 保留 删除 语料 整形 除去 重複 誤字 レコード 정리 제거",
        rarity=(12, 22, 36),
    ),
    Concept(
        "rewriting",
        "asks for a text to be rewritten",
        "rewrite rewrites rewritten rephrase rephrased paraphrase paraphrased reword polish "
        "reformulate umschreiben umformulieren formuliere "
        "überarbeite reformule reformuler réécris "
        "réécrire reescribe reescribir reformula parafrasea перепиши riscrivi reescreva",
        ("schreibe um", "schreibe neu", "keep the meaning", "keeps its meaning", "other words"),
        "改写 重写 润色 换种说法 书写 書き直 言い換え リライト 다시 써",
        rarity=(51, 77, 77),
    ),
    Concept(
        "dataset",
        "speaks of training data, instructions or examples",
        "dataset datasets training instruction instructions example examples exemplar instance "
        "instances sample samples synthetic seed seeds pairs qa annotated annotation finetuning "
        "fine tuning corpus curriculum textbook datensatz trainingsdaten anweisung beispiel "
        "beispiele aufgabenpaare exemple exemples consigne jeu entraînement ejemplo ejemplos "
        "instrucción instrucciones entrenamiento semilla exemplo exemplos пример примеры esempio",
        ("training data", "question and answer", "in the style of", "given prompt"),
        "数据集 训练 指令 例子 示例 样本 合成 种子 例題 データセット "
        "指示 サンプル 학습 예시 데이터",
        rarity=(16, 37, 77),
    ),
    Concept(
        "inventing",
        "asks for new tasks to be invented",
        "generate generates generating create creates invent "
        "produce diverse diversity vary varied "
        "new novel more harder complex complexity difficult difficulty evolve evolved constraint "
        "constraints challenging variations realistic erzeuge erzeugen erfinde neue neuen "
        "schwieriger schwerer vielfältig variiere génère générer crée créer invente nouveaux "
        "nouvelles variés difficile genera generar crea crear inventa nuevos nuevas variados "
        "difícil создай новые genera gere crie novos",
        ("write three", "write five", "write ten", "three more", "ten more", "make it harder"),
        "生成 创建 新的 更难 多样 再写 编写 出题 約束 作成 新しい 難しく 追加 생성 새로운 어렵게",
        rarity=(12, 32, 41),
    ),
    Concept(
        "exam",
        "poses a problem with one right result",
        "solve problem compute calculate choose option options correct result solution integer "
        "boxed exercise multiple löse berechne aufgabe ergebnis résous calcule problème résultat "
        "resuelve calcula problema resultado resolva реши вычисли risolvi many much total",
        (
            "final answer",
            "final result",
            "last line",
            "result alone",
            "answer alone",
            "answer only",
            "only the answer",
            "multiple choice",
            "how many",
            "how much",
            "nur das ergebnis",
            "only the letter",
            "complete the function",
        ),
        "题目 选择 计算 解题 最终答案 多少 问题 最終的な答え 計算 解いて 問題 정답 계산",
        rarity=(16, 28, 50),
    ),
    Concept(
        "tool_calls",
        "asks for calls of functions or tools",
        "function functions call calls calling tool tools invoke invoked invocation api apis "
        "parameter parameters argument arguments endpoint json werkzeug werkzeuge aufruf aufrufe "
        "funktion outil outils appel appels fonction fonctions herramienta herramientas llamada "
        "llamadas función funciones ferramenta функция инструмент",
        ("function call", "tool call", "use the tools", "call the", "available tools"),
        "工具 函数 调用 参数 接口 ツール 関数 呼び出し 引数 도구 함수 호출",
        rarity=(23, 42, 49),
    ),
    Concept(
        "probing",
        "asks the model about itself or its limits",
        "cutoff knowledge version developer trained weights context window tokens verbatim "
        "repeat echo ping test ignore previous architecture parametercount wissensstand version "
        "trainiert wiederhole coupure entraîné répète versión entrenado repite corte",
        (
            "which model",
            "what model",
            "who are you",
            "who made you",
            "are you gpt",
            "are you claude",
            "system prompt",
            "your instructions",
            "knowledge cutoff",
            "text above",
            "ignore previous",
            "welches modell",
            "wer bist du",
            "quel modèle",
            "qui es tu",
            "qué modelo",
            "quién eres",
            "can you see images",
            "context window",
        ),
        "什么模型 哪个模型 你是谁 系统提示 知识截止 重复上面 どのモデル "
        "あなたは誰 システムプロンプト 어떤 모델",
        rarity=(15, 39, 77),
    ),
    Concept(
        "person",
        "is written the way a person asks for help",
        "i my me mine myself am please thanks thank hello hi "
        "help could would need want should ich "
        "mein meine mir bitte danke hallo hilfe brauche je mon "
        "ma mes merci bonjour aide voudrais "
        "besoin yo mi mis gracias hola ayuda necesito quiero puedes eu meu obrigado я мне мой "
        "пожалуйста спасибо io mio grazie",
        ("can you", "how do i", "how can i", "what should", "kannst du", "peux tu"),
        "我 请 谢谢 你好 帮 私 ください ありがとう お願い 教えて 나는 제 감사 도와",
        rarity=(8, 20, 30),
    ),
    Concept(
        "translating",
        "asks for a translation",
        "translate translation translations übersetze übersetzen übersetzung traduis traduire "
        "traduction traduce traducir traducción traduza перевод переведи traduci",
        (),
        "翻译 译成 訳 翻訳 번역",
        rarity=(45, 61, 77),
    ),
    Concept(
        "summarising",
        "asks for a summary",
        "summarise summarize summary summarizes bullet minutes notes tldr zusammenfassung "
        "fasse zusammen stichpunkte résume résumer résumé synthèse resume resumir resumen resuma "
        "кратко резюме riassumi",
        ("at most", "in one sentence", "key points"),
        "总结 摘要 概括 要点 要約 まとめ 요약",
        rarity=(42, 55, 77),
    ),
    Concept(
        "extracting",
        "asks for fields or labels of a document",
        "extract extracts fields field schema label labels classify category document documents "
        "invoice null confidence entities extrahiere felder klassifiziere dokument rechnung "
        "extrais champs classe catégorie facture extrae campos "
        "clasifica categoría documento factura "
        "извлеки estrai",
        ("json alone", "with json", "valid json"),
        "提取 字段 分类 标签 文件 抽出 分類 項目 文書 추출 분류",
        rarity=(21, 42, 77),
    ),
    Concept(
        "case_decision",
        "explains a decision about a person's own case",
        "decision declined approved application applicant "
        "customer patient clinician triage credit "
        "loan claim case law regulation appeal factor factors "
        "weight diagnosis insurance entscheidung "
        "abgelehnt antrag antragsteller patient kredit gesetz fall versicherung décision refusé "
        "dossier demande client crédit loi patient decisión "
        "rechazada solicitud solicitante crédito "
        "paciente ley caso",
        ("as the law", "right to explanation"),
        "申请 决定 拒绝 患者 贷款 法律 案件 申請 決定 却下 融資 法律 신청 결정",
        rarity=(17, 34, 77),
    ),
    Concept(
        "programming",
        "is about program code",
        "code function bug error test tests refactor python typescript javascript java class def "
        "return import repository file compile exception programmer program programm fehler "
        "programme erreur código error prueba script sql async",
        ("unit test", "stack trace", "does this fail"),
        "代码 函数 程序 报错 コード プログラム エラー 코드",
        rarity=(8, 16, 23),
    ),
    Concept(
        "text_work",
        "asks for prose about a topic",
        "write essay story poem letter email blog article post plan describe explain difference "
        "why what how tell give list suggest recommend schreibe erkläre warum beschreibe écris "
        "explique pourquoi décris escribe explica describe cuéntame напиши объясни scrivi spiega",
        ("what is", "tell me", "give me"),
        "写 解释 为什么 是什么 介绍 説明 書いて とは なぜ 설명 써",
        rarity=(8, 18, 34),
    ),
    Concept(
        "accounts_support",
        "asks about an order, a card or an account",
        "order card account payment refund parcel delivery transfer bank balance password charge "
        "customer bestellung karte konto zahlung lieferung "
        "commande carte compte paiement livraison "
        "pedido tarjeta cuenta pago envío reembolso",
        (),
        "订单 客户 账户 付款 退款 注文 お客様 口座 支払 주문 계좌",
        rarity=(19, 37, 66),
    ),
    Concept(
        "persona",
        "gives the model a part to play",
        "assistant act role persona expert helpful professional pretend rolle assistent rôle "
        "asistente papel agis actúa роль",
        ("you are", "act as", "your task", "your job", "your objective", "du bist", "vous êtes"),
        "你是 扮演 充当 助手 あなたは 役割 당신은",
        rarity=(27, 43, 61),
    ),
)
