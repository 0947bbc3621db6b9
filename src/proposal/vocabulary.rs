//! The words of column names, in Dutch, German, French and English.
//!
//! Words are in small Latin letters without accents. Compounds need no entry of
//! their own: `klantnummer` is read as `klant` and `nummer`.

/// What a word in the name of a column says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Email,
    Phone,
    Twitter,
    Facebook,
    /// A name, of whatever.
    Name,
    First,
    /// A first name that people are called by.
    Called,
    Initials,
    Last,
    Full,
    /// What stands between first and last name in a column of its own.
    Particle,
    Id,
    Number,
    Code,
    Country,
    /// The person whom a row is about.
    Customer,
    Contact,
    Member,
    External,
    /// A CRM's own name.
    Vendor,
    /// An object around the members of JSON, or a word such as `unique`.
    Record,
    Company,
    /// Somebody of the own organisation.
    Staff,
    /// Somebody else than the person of the row.
    OtherPerson,
    /// Another thing that has numbers.
    OtherThing,
    Fax,
    /// What is said of an address or a name and is none.
    Attribute,
    /// Says which of several addresses it is.
    Kind,
}

use Word::{
    Attribute, Called, Code, Company, Contact, Country, Customer, Email, External, Facebook, Fax, First,
    Full, Id, Initials, Kind, Last, Member, Name, Number, OtherPerson, OtherThing, Particle, Phone, Record,
    Staff, Twitter, Vendor,
};

pub(super) const WORDS: &[(Word, &str)] = &[
    (Email, "email emails mail mails epost courriel courriels messagerie mel emad mailwork mailhome"),
    (
        Phone,
        "phone phones telephone telephones telefoon telefoons telefon telefone tel telf fon mobile mobiel mobiele mobil \
         mobiltelefon mobilfunk mob handy gsm cell cellphone cellular portable natel whatsapp sms landline festnetz \
         fixe rufnummer rufnr tenr mbnr",
    ),
    (Twitter, "twitter"),
    (Facebook, "facebook fb"),
    (Name, "name names naam namen nom noms"),
    (
        First,
        "first firstname fname forename given givenname vor voornaam voornamen vorname vornamen prenom prenoms finm",
    ),
    (Called, "roepnaam rufname canm"),
    (Initials, "initials initialen voorletters voorletter"),
    (
        Last,
        "last lastname lname surname family familyname familienaam familienname achternaam nachname zuname geslachtsnaam famille \
         lanm",
    ),
    (Full, "full fullname volledige volledig complete complet vollstandiger vollstandig voller"),
    (
        Particle,
        "tussenvoegsel tussenvoegsels tussenv voorv voorvoegsel voorvoegsels infix vorsatzwort namensvorsatz",
    ),
    (
        Id,
        "id ids identifier identifiant identificatie identifikation kennung uuid guid key sleutel schlussel",
    ),
    (Number, "number nummer nummern nr nrs no num numero nbr"),
    (Code, "code ref reference referentie referenz matricule"),
    (Country, "country land pays nation"),
    (
        Customer,
        "customer customers client clients cliente klant klanten kunde kunden debiteur debiteuren debtor debtors debitor \
         debitoren deb relatie relaties buyer koper kaufer acheteur shopper cust kd patient",
    ),
    (
        Contact,
        "contact contacts contactpersoon contactpersonen person persons persoon personen personne kontakt kontaktperson \
         ansprechpartner individual people",
    ),
    (
        Member,
        "member members lid leden mitglied mitglieds mitglieder membre adherent subscriber abonnee abonnent profile \
         profiel profil user users gebruiker gebruikers benutzer nutzer utilisateur lead",
    ),
    (External, "external extern externe externer externes foreign ext"),
    (
        Vendor,
        "klaviyo shopify intercom hubspot salesforce magento mailchimp zoho zendesk freshdesk odoo teamleader exact afas \
         pipedrive stripe woocommerce woo wc lightspeed activecampaign brevo sendinblue dynamics crm erp",
    ),
    (
        Record,
        "record unique uniek eindeutige eindeutig internal intern interne system systeem properties attributes traits \
         data fields node hs object entity airbyte personal personalia own eigen database",
    ),
    (
        Company,
        "account accounts acc acct company companies organization organizations organisation organisations organisatie org \
         bedrijf bedrijven bedrijfs firma firmen firm unternehmen societe entreprise sociale employer werkgever \
         arbeitgeber vendor supplier leverancier lieferant lieferanten fournisseur crediteur kreditor kreditoren \
         creditor household konto school branch vestiging filiale",
    ),
    (
        Staff,
        "owner owners eigenaar besitzer agent agents manager managers accountmanager accountmanagers rep reps \
         representative representant salesperson salesrep sales seller verkoper vertegenwoordiger verkaufer vertreter \
         vendeur gestionnaire mgr responsable proprietaire assignee assigned toegewezen zugewiesen zustandig betreuer \
         bearbeiter behandelaar medewerker mitarbeiter employee consultant advisor adviseur berater conseiller created \
         modified updated creator author aangemaakt gewijzigd bijgewerkt erstellt geandert cree modifie csm sdr staff \
         operator by door verantwoordelijke verantwortlicher commercial",
    ),
    (
        OtherPerson,
        "assistant assistants assistent assistentin assistante asst secretary secretaresse sekretariat parent parents \
         ouder ouders eltern spouse partner echtgenoot echtgenote ehepartner conjoint emergency nood noodcontact notfall \
         urgence referrer referred referral guardian voogd child kind enfant supervisor vorgesetzter vorgesetzte \
         leidinggevende reports reporting recipient ontvanger empfanger destinataire shipping delivery aflever lever \
         liefer livraison sender reply emailer lawyer doctor huisarts arzt",
    ),
    (
        OtherThing,
        "order orders bestelling bestell commande invoice factuur rechnung rechnungs facture card kaart karte carte tax \
         vat btw ust tva siret siren kvk coc iban bic bank deal deals ticket tickets product produkt produit visitor \
         device session transaction contract vertrag contrat subscription abonnement house huis haus street straat \
         strasse rue post postal postcode plz zip box bus government organizational license passport bsn ssn item line \
         regel zeile event events seq sequence row import batch project projekt projet lot serial skype google linkedin \
         instagram youtube ip cookie master merged individu ticketid",
    ),
    (Fax, "fax faxnr telefax telecopie telecopieur telex pager isdn tty tdd ttytdd radio callback"),
    (
        Attribute,
        "bounce bounced bounces opened opens open clicked clicks click followers follower following friends likes type \
         types typ typen soort art label labels etikett status statut stand state reason reden grund raison phonetic \
         phonetique fonetisch fonetische phonetisch yomi furigana display displayname weergavenaam weergave angezeigter \
         anzeige anzeigename affichage optin optout opt in out unsubscribed unsubscribe unsubscribes subscribed subscribe \
         uitgeschreven afgemeld abgemeldet consent toestemming einwilligung consentement verified verify geverifieerd \
         verifiziert verifie confirmed confirm confirmation bevestigd bestatigt confirme valid validated validation \
         validity geldig gultig invalid quality score scores rating ratings rank priority permission marketing newsletter \
         nieuwsbrief accepts accept accepted date datum dates time times tijd zeit heure timestamp day days count counts \
         total totaal gesamt aantal anzahl nombre quantity amount domain domein domaine domane hash md sha source bron \
         quelle preference preferences voorkeur preferred format formatted language taal sprache langue timezone zone \
         provider template campaign campaigns campagne list lists lijst liste note notes notitie bemerkung remarque \
         comment comments opmerking subject betreft body text message messages bericht history activity activities \
         frequency bio biography photo image avatar picture extension poste durchwahl prefix prefixe vorwahl area \
         blocked blocklist blacklist spam suppressed deliverability deliverable engagement sends sent send delivered \
         verstuurd gesendet envoyes replied replies received hard soft quarantined since sinds seit depuis at marked has \
         is was seen contacted heard tag tags group groep gruppe groupe category categorie kategorie segment username \
         login gebruikersnaam benutzername logins password wachtwoord passwort not do dont without geen kein pas checksum \
         hashed shared spent spend latest attempts attempt conversations conversation sessions session reachable \
         enabled disabled active actief aktiv signature signatur handtekening alias nickname suffix middle maiden \
         meisjesnaam geboortenaam salutation aanhef anrede title titel titre",
    ),
    (
        Kind,
        "address addresses adres adressen adresse adressen work werk zakelijk zakelijke geschaftlich geschaft geschafts \
         gesch dienstlich dienst buro bureau professionnel professionnelle pro business office kantoor home thuis prive \
         privat private personal personnel personnelle domicile persoonlijk main hoofd primary primair primaire haupt \
         principal principale secondary secondaire tweede zweite second alternative alternate alternatief additional \
         extra other overig overige andere anderes weitere autre sonstige direct value waarde wert valeur the of de van \
         der den het la le les du des for voor fur op overdag daytime evening avond billing bill facturation facturatie \
         mailing default standaard standard current huidig region regio electronique elektronisch vast your uw mon votre \
         to and en et und or of ou handle",
    ),
];

/// Vendors' own names of columns, and how they read.
pub(super) const VENDOR_NAMES: &[(&str, &[Word])] = &[
    // AFAS: organisation or person, debtor, person.
    ("bcco", &[Word::Contact, Word::Code]),
    ("organisatiepersoon", &[Word::Contact, Word::Code]),
    ("dbid", &[Word::Customer, Word::Id]),
    ("bcid", &[Word::Contact, Word::Id]),
    ("nummerdebiteur", &[Word::Customer, Word::Number]),
    // A person's own numbers in membership software.
    ("bondsnummer", &[Word::Member, Word::Number]),
    ("relcode", &[Word::Customer, Word::Code]),
    ("kdnr", &[Word::Customer, Word::Number]),
    ("knr", &[Word::Customer, Word::Number]),
    ("klnr", &[Word::Customer, Word::Number]),
    ("extid", &[Word::External, Word::Id]),
    // SAP.
    ("kunnr", &[Word::Customer, Word::Number]),
    ("smtpaddr", &[Word::Email]),
    ("telfx", &[Word::Fax]),
    // SAP Business One: business partner, also in German.
    ("cardcode", &[Word::Customer, Word::Code]),
    ("cardname", &[Word::Customer, Word::Name]),
    ("bpcode", &[Word::Customer, Word::Code]),
    ("bpname", &[Word::Customer, Word::Name]),
    ("gpcode", &[Word::Customer, Word::Code]),
    ("gpname", &[Word::Customer, Word::Name]),
];

/// What Dynamics writes before the columns that it needs for a re-import.
pub(super) const DO_NOT_MODIFY: [&str; 5] =
    ["do not modify", "niet wijzigen", "nicht andern", "nicht aendern", "ne pas modifier"];

/// Words by which the language of a header shows, with the regions where it is
/// spoken and how much that says.
pub(super) const LANGUAGES: &[(&str, &[(&str, f64)])] = &[
    (
        "naam voornaam achternaam roepnaam tussenvoegsel klantnummer klantnr telefoon telefoonnummer mobiel plaats \
         woonplaats straat huisnummer adres emailadres bedrijf bedrijfsnaam geboortedatum opmerking opmerkingen land \
         relatienummer debiteurnummer debiteur",
        &[("NL", 0.5), ("BE", 0.3)],
    ),
    (
        "vorname nachname kundennummer kundennr telefon telefonnummer handy mobil mobilfunk mobiltelefon ort plz strasse \
         anrede firma geburtsdatum bemerkung kunde hausnummer",
        &[("DE", 0.4), ("AT", 0.3), ("CH", 0.3)],
    ),
    (
        "prenom nom portable ville societe courriel client naissance remarque civilite",
        &[("FR", 0.5), ("BE", 0.3), ("CH", 0.3), ("LU", 0.2)],
    ),
];

/// Cells that programs and people write for "no value".
pub(super) const NULL_WORDS: [&str; 27] = [
    "NULL",
    "null",
    "(null)",
    "<null>",
    "\\N",
    "#N/A",
    "#N/B",
    "#NV",
    "#N/D",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "#REF!",
    "#VALUE!",
    "#WAARDE!",
    "#NAME?",
    "#DIV/0!",
    "n.v.t.",
    "nvt",
    "k.A.",
    "-",
    "--",
    "none",
    "undefined",
    "(not set)",
    "onbekend",
];

/// Ids that stand for "nobody", where several rows have them.
pub(super) const PLACEHOLDER_IDS: [&str; 12] =
    ["0", "00", "-", "--", "(not set)", "none", "null", "n/a", "na", "guest", "unknown", "undefined"];
